"""How the screens look, against pictures that were looked at: `LLAMA_CHAT_UPDATE_SNAPSHOTS=1` makes new ones.

Every screen is seen in three sizes, and once in each of two other themes; one running chat is led through all
of them. Beside each picture lies its text, whose difference can be read. The pictures are of one version of
Textual and Rich: where a newer one draws otherwise, make them again and look at them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from looks_stage import Camera, camera_of, chat_setup, fill, stand_still
from replay_records import fox_session
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_first_run import Machine

from llama_chat.errors import Interrupted
from llama_chat.pull import PullProgress
from llama_chat.replay import Player, build_timeline
from llama_chat.settings import ChatSettings
from llama_chat.shelves.to_load import Puller
from llama_chat.ui.first_run.model_step import ModelStep
from llama_chat.ui.replay.app import ReplayApp, ReplayLooks
from llama_chat.ui.replay.help import ReplayHelp
from llama_chat.ui.screens.download import DownloadScreen
from llama_chat.ui.stepping.next_token import NextToken
from llama_chat.ui.tokens.candidate_bars import CandidateBars

LOOKS = [(SMALL, "ember"), (NARROW, "ember"), (WIDE, "ember"), (NARROW, "paper"), (NARROW, "ansi")]
looks = pytest.mark.parametrize(("size", "theme"), LOOKS, ids=[f"{size[0]}-{theme}" for size, theme in LOOKS])
END_OF_CHAT = "ask again tomorrow"
CARDS = {
    "history": ("alt+h", "a *short* story"),
    "tree": ("alt+t", "branches"),
    "presets": ("alt+p", "balanced"),
    "personas": ("alt+r", "Personas"),
    "system": ("f8", "System prompt"),
    "models": ("f4", "To be fetched"),
    "devices": ("alt+d", "A Processor"),
    "settings": ("f12", "threads"),
    "keys": ("f1", "Keys"),
    "palette": ("ctrl+p", "Commands"),
    "themes": ("f9", "fjord"),
    "context": ("alt+i", "free"),
    "save-code": ("alt+s", "Save code block"),
}
"""What opens each, and what stands on it once it is there; Esc closes it."""


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    yield from stand_still(monkeypatch, tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@looks
async def test_the_chat(home: Home, size: tuple[int, int], theme: str) -> None:
    pace = Pace(is_stepped=True)
    async with chat(chat_setup(home, theme, pace), size) as user:
        camera = camera_of(user, size, theme)
        await user.ready()
        await user.sees(END_OF_CHAT, "120", "8,192")
        await camera.shoot("chat")
        await look_at_messages(user, camera)
        await look_at_cards(user, camera)
        await look_at_sessions(user, camera)
        await look_at_prompt(user, camera)
        await look_at_reply(user, camera, pace)
        await user.press("ctrl+n")
        await user.until(lambda: not user.said, "no new chat")
        await camera.shoot("empty")
    camera.judge()


@looks
async def test_a_reply_that_waits(home: Home, size: tuple[int, int], theme: str) -> None:
    pace = Pace(is_stepped=True)
    async with chat(chat_setup(home, theme, pace), size) as user:
        camera = camera_of(user, size, theme)
        await user.ready()
        await user.sees(END_OF_CHAT, "120", "8,192")
        await user.press(*"/step", "enter")
        await user.sees("ready, step mode")
        await user.say("And the river?")
        pace.step(3)
        await waits(user, 0)
        await user.press("down", "down", "down", "enter")
        await waits(user, 1)
        await camera.shoot("step-mode")
        await user.press("alt+j")
        await user.until(lambda: not user.screen.query(NextToken), "the box stays")
        await user.press("alt+j")
        await user.until(lambda: user.screen.bridge.steering.hold == "paused", "not paused")
        pace.step(1)
        await waits(user, 3)
        await user.press("down", "e", *" old")
        await user.until(lambda: user.screen.query_one(NextToken).is_typing, "nothing is typed")
        await camera.shoot("paused")
        await user.press("escape", "escape")
        await user.idle()
    camera.judge()


async def waits(user: User, index: int) -> None:
    """The reply waits at that token, and its candidates have the keyboard."""

    def does() -> bool:
        awaiting = user.screen.chat.status.awaiting
        is_there = any(bars.has_focus for bars in user.screen.query(CandidateBars))
        return awaiting is not None and awaiting.index == index and is_there

    await user.until(does, f"does not wait at token {index}")


async def back(user: User) -> None:
    """Out of whatever is open."""
    await user.press("escape")
    await user.until(lambda: user.app.screen is user.screen, "the card is still there")
    user.screen.prompt.text = ""
    user.screen.prompt.focus()
    user.screen._hint_line.clear()


async def look_at_messages(user: User, camera: Camera) -> None:
    """The cursor over messages, thoughts unfolded, words found."""
    await user.press("alt+up")
    await user.until(lambda: user.screen.transcript.cursor_id is not None, "no cursor")
    await camera.shoot("cursor")
    await user.press("alt+m")
    await user.sees("▾ thought")
    await camera.shoot("thinking")
    await user.press("alt+m")
    await back(user)
    await user.press("ctrl+l", *"river")
    await user.sees(" of 7")
    await camera.shoot("find")
    await back(user)
    await user.press("ctrl+end")
    await user.sees(END_OF_CHAT)


async def look_at_cards(user: User, camera: Camera) -> None:
    """All that opens over the chat, and the sliders."""
    for name, (key, sign) in CARDS.items():
        await user.press(key)
        await user.until(lambda: user.app.screen is not user.screen, f"no {name}")
        await user.sees(sign)
        if name == "presets":
            await user.press("down")
            await user.sees("→")
        await camera.shoot(name)
        await back(user)
    await user.press("ctrl+o")
    await user.until(lambda: user.app.focused is not user.screen.prompt, "no sliders")
    await camera.shoot("sampling")
    await back(user)


async def look_at_sessions(user: User, camera: Camera) -> None:
    """The list, and a search in all of them."""
    await user.press("ctrl+s")
    await user.until(lambda: user.app.focused is not user.screen.prompt, "no sessions")
    await user.sees("Names for a boat")
    await camera.shoot("sessions")
    await back(user)
    await user.press("f3")
    await user.until(lambda: user.app.screen is not user.screen, "no search")
    await user.press(*"river")
    await user.sees("needs a river")
    await camera.shoot("search")
    await back(user)


async def look_at_prompt(user: User, camera: Camera) -> None:
    """What is completed, attached, edited and refused."""
    await user.press("/")
    await user.until(lambda: user.screen.completer.offers, "nothing is offered")
    await camera.shoot("completion")
    await back(user)
    await user.press("alt+o")
    await user.sees("notes.md", "Attach a file")
    await camera.shoot("attach")
    await user.press(*"notes.md")
    await user.press("enter")
    await user.until(lambda: user.app.screen is user.screen, "the card is still there")
    await user.sees("notes.md 1")
    await camera.shoot("chip")
    await user.press("alt+v")
    await user.sees("asks it why")
    await camera.shoot("chip-look")
    await back(user)
    await user.press("alt+e")
    await user.until(lambda: user.screen.editing.message is not None, "nothing is edited")
    await camera.shoot("edit")
    user.screen.editing.end()
    await back(user)
    await user.press(*"/nonsense", "enter")
    await user.sees("There is no command")
    await camera.shoot("hint")
    await back(user)


async def look_at_reply(user: User, camera: Camera, pace: Pace) -> None:
    """A reply that is written, and words that wait for its end."""
    await user.say("And the river?")
    pace.step(22)
    await user.sees("asked", "139", *(["22 tokens"] if camera.size != SMALL else []))
    await camera.shoot("replying")
    await user.say("What did it say then?")
    await user.sees("What did it")
    await camera.shoot("queued")
    await user.press("alt+q", "escape")
    await user.idle()
    await back(user)


# --- the start --------------------------------------------------------------------------------------------


@looks
async def test_the_first_run(home: Home, size: tuple[int, int], theme: str) -> None:
    machine = Machine()
    machine.pull_goes_on.clear()
    setup = machine.setup(home)
    setup = replace(setup, settings=replace(setup.settings, chat=ChatSettings(theme=theme)))
    async with chat(setup, size) as user:
        camera = camera_of(user, size, theme)
        await user.until(lambda: user.app.screen.query(ModelStep), "no first screen")
        step = user.app.screen.query_one(ModelStep)
        await user.until(lambda: step.known.fits, "the machine is not known")
        await user.sees("A Processor")
        await camera.shoot("first-machine")
        await user.press("enter")
        await user.sees("To be fetched")
        await camera.shoot("first-model")
        await user.press("enter")
        await user.sees("46.0 of 92.0 MB")
        await camera.shoot("first-words")
        machine.pull_goes_on.set()
    camera.judge()


def puller(go_on: threading.Event) -> Puller:
    """Stands still in the middle of the file."""

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        report(PullProgress(43_000_000, 98_400_000, 4.0, "SmolLM2-135M-Instruct.Q4_1.gguf"))
        while not go_on.wait(0.02):
            if cancel.is_set():
                raise Interrupted("Stopped.")

    return pull


@looks
async def test_a_download(home: Home, size: tuple[int, int], theme: str) -> None:
    fill(home)
    go_on = threading.Event()
    setup = home.setup(FakeEngine(), chat=ChatSettings(theme=theme), pull=puller(go_on), continue_last=True)
    async with chat(replace(setup, model_label="SmolLM2 135M Instruct"), size) as user:
        camera = camera_of(user, size, theme)
        await user.until(lambda: isinstance(user.app.screen, DownloadScreen), "no card")
        await user.sees("43.0 of 98.4")
        await camera.shoot("download")
        go_on.set()
    camera.judge()


# --- the replay -------------------------------------------------------------------------------------------


@looks
async def test_a_replay(size: tuple[int, int], theme: str) -> None:
    app = ReplayApp(Player(build_timeline(fox_session())), ReplayLooks(theme, Path("no-themes")), ticks=False)
    async with app.run_test(size=size) as pilot:
        app.animation_level = "none"
        camera = Camera(app, pilot, size, theme)
        await pilot.press("home", *["right"] * 12)
        await camera.shoot("replay")
        await pilot.press("f1")
        while not isinstance(app.screen, ReplayHelp):
            await pilot.pause(0.01)
        await camera.shoot("replay-keys")
    camera.judge()
