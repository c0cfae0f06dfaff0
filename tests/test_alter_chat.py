"""An altered model in the chat: the bar, what it counts for, what goes on, another model, the plain chat."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import INFO, PLAN, FakeEngine, Pace, loader_of
from looks_stage import camera_of, chat_setup, stand_still
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_looks import END_OF_CHAT, looks
from test_plain import setup_of, typed  # noqa: F401  (fixtures)
from test_switching import SwitchLog, other_engine
from test_worker import turn_for, unfinished, worker_of

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.errors import PromptError
from llama_chat.events import Event, Finished, Prefilled
from llama_chat.shelves.to_load import ModelToLoad
from llama_chat.ui.widgets.altered_bar import AlteredBar

N_LAYERS, N_HEADS = 30, 9


class AlterableEngine(FakeEngine):
    """Its plans say how it was altered."""

    def __init__(self, *options: Any, **named: Any) -> None:
        super().__init__(*options, **named)
        self.alteration = UNALTERED
        self.streamed: list[str] = []
        """Signature of each reply."""

    def check_alteration(self, alteration: Alteration) -> None:
        alteration.check(N_LAYERS, N_HEADS)

    def alter(self, alteration: Alteration) -> None:
        self.check_alteration(alteration)
        self.alteration = alteration

    def stream(self, *words: Any, **named: Any) -> Iterator[Event]:
        signature = self.alteration.signature
        self.streamed.append(signature)
        plan = replace(PLAN, alteration=signature)
        for event in super().stream(*words, **named):
            yield replace(event, plan=plan) if isinstance(event, Prefilled | Finished) else event


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def bar(user: User) -> str:
    """What it says; empty where it is not shown."""
    bars = [each for each in user.screen.query(AlteredBar) if each.display]
    return bars[0].render().plain if bars else ""


# --- the worker ------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> SwitchLog:
    return SwitchLog()


def test_a_reply_goes_on_as_altered_as_it_was_begun(log: SwitchLog) -> None:
    engine = AlterableEngine(["one two three"])
    worker = worker_of(engine, log)
    for alteration, now in (("L3.H4×0", ""), ("", "L7×0"), ("L1×0.5", "L2×0")):
        worker.compute(
            lambda e, now=now: e.alter(Alteration(layers={6: 0.0} if now else {})), threading.Event()
        )
        plan = replace(PLAN, dtype=INFO.dtype, alteration=alteration)
        worker.answer(unfinished("one ", (100,), plan=plan, finish_reason="stopped"))
        finished = log.until("event", Finished)
        assert isinstance(finished, Finished)
        assert finished.plan.alteration == alteration
        worker.answer(turn_for("a"))
        finished = log.until("event", Finished)
        assert isinstance(finished, Finished)
        assert finished.plan.alteration == ("L7×0" if now else ""), "a new reply runs as the user has it"
    assert worker.close()


@pytest.mark.parametrize(
    ("alteration", "words"),
    [("L99×0", "no layer 99"), ("L3×fox", "no factor"), ("\x1b[31m", "no head and no layer")],
)
def test_what_cannot_go_on_altered_is_refused(log: SwitchLog, alteration: str, words: str) -> None:
    worker = worker_of(AlterableEngine(["one two three"]), log)
    plan = replace(PLAN, dtype=INFO.dtype, alteration=alteration)
    worker.answer(unfinished("one ", (100,), plan=plan, finish_reason="stopped"))
    error = log.until("refused")
    assert words in str(error)
    assert "\x1b" not in str(error)
    assert worker.close()


def test_another_engine_says_that_it_cannot_be_altered(log: SwitchLog) -> None:
    worker = worker_of(FakeEngine(["one two three"]), log)
    plan = replace(PLAN, dtype=INFO.dtype, alteration="L3×0")
    worker.answer(unfinished("one ", (100,), plan=plan, finish_reason="stopped"))
    error = log.until("refused")
    assert "cannot be altered" in str(error)
    assert not isinstance(error, PromptError)
    assert worker.close()


# --- the screen --------------------------------------------------------------------------------------------


async def test_the_bar_is_there_until_the_model_is_as_it_was(home: Home) -> None:
    engine = AlterableEngine(["Two words."])
    async with chat(home.setup(engine), NARROW) as user:
        await user.ready()
        await user.press("alt+shift+a")
        await user.sees("/alter L3.H4 switches off head 4")
        await user.say("/alter L3.H4, L7 0.5")
        await user.until(lambda: "layer 3 head 4 off, layer 7 × 0.5 · Alt+Shift+A resets" in bar(user))
        await user.say("What now?")
        await user.until(lambda: engine.streamed == ["L3.H4×0 L7×0.5"])
        await user.sees("altered: L3.H4×0 L7×0.5")
        await user.idle()
        await user.say("/alter L99")
        await user.sees("There is no layer 99: the model has 30 layers")
        assert "layer 7 × 0.5" in bar(user)
        user.screen.prompt.text = ""
        await user.say("/alter L7 on")
        await user.until(lambda: "off · Alt" in bar(user))
        await user.press("alt+shift+a")
        await user.until(lambda: not bar(user))
        await user.sees("as it was again")
        await user.press("ctrl+r")
        await user.until(lambda: len(engine.streamed) == 2)
        await user.idle()
        assert engine.streamed[-1] == ""
        await user.sees("‹ 2/2 ›")
        assert "altered:" not in user.seen
    replies = [message.reply for message in home.stored()[0].messages.values() if message.reply]
    assert [reply.plan.alteration for reply in replies if reply.plan] == ["L3.H4×0 L7×0.5", ""]


async def test_a_reply_goes_on_as_it_was_begun_and_that_is_said(home: Home) -> None:
    engine = AlterableEngine(["one two three four five"], info=replace(INFO, dtype=PLAN.dtype))
    async with chat(home.setup(engine), NARROW) as user:
        await user.ready()
        await user.say("/set max_new_tokens 2")
        await user.say("Count.")
        await user.until(lambda: engine.streamed == [""])
        await user.idle()
        await user.say("/alter L3")
        await user.until(lambda: bar(user))
        await user.press("f5")
        await user.sees("It goes on as it was begun, with nothing altered")
        await user.idle()
        assert engine.streamed == ["", ""]
        assert engine.alteration.signature == "L3×0"


async def test_a_click_on_the_bar_resets(home: Home) -> None:
    async with chat(home.setup(AlterableEngine(["Two words."])), NARROW) as user:
        await user.ready()
        await user.say("/alter L3")
        await user.sees("Alt+Shift+A resets", "from the next reply on")
        await user.pilot.click(AlteredBar)
        await user.until(lambda: not bar(user))


async def test_a_reply_that_runs_stays_as_it_is(home: Home) -> None:
    pace = Pace(is_stepped=True)
    engine = AlterableEngine([None], pace=pace)
    async with chat(home.setup(engine), NARROW) as user:
        await user.ready()
        await user.say("Go.")
        pace.step(3)
        await user.sees("word2")
        await user.say("/alter L3")
        await user.until(lambda: bar(user).startswith("From the next reply on"))
        assert not engine.alteration
        await user.press("escape")
        await user.idle()
        await user.until(lambda: bar(user).startswith("The model is altered"))
        await user.until(lambda: engine.alteration)


async def test_another_model_is_not_altered(home: Home) -> None:
    async with chat(home.setup(AlterableEngine(["Two words."])), NARROW) as user:
        await user.ready()
        await user.say("/alter L3")
        await user.until(lambda: bar(user))
        other = AlterableEngine(["Other."], info=other_engine().info)
        user.screen.chat.switching.begin(ModelToLoad("other", loader_of(other)))
        await user.until(lambda: not bar(user))
        await user.sees("Other-1B runs as it is")
        await user.say("Hi")
        await user.until(lambda: other.streamed == [""])


async def test_what_cannot_be_altered_says_so(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["Two words."])), NARROW) as user:
        await user.ready()
        await user.say("/alter L3")
        await user.sees("This model cannot be altered")
        assert not bar(user)


@pytest.mark.parametrize("size", [SMALL, NARROW, WIDE])
async def test_the_bar_keeps_its_key_in_sight(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(AlterableEngine(["Two words."])), size) as user:
        await user.ready()
        await user.say("/alter " + " ".join(f"L{n}.H9" for n in range(1, 31)))
        await user.until(lambda: bar(user))
        await user.sees("Alt+Shift+A")
        assert len(bar(user)) <= size[0]


# --- without a screen --------------------------------------------------------------------------------------


def test_the_plain_chat_alters_and_resets(typed: Any) -> None:  # noqa: F811  (the fixture)
    engine = AlterableEngine(["Two words."])
    lines = ("/alter", "/alter L3.H4", "One?", "/alter", "/alter L77", "/alter reset", "Two?", "/alter reset")
    _, told = typed(*lines, engine=engine)
    assert engine.streamed == ["L3.H4×0", ""]
    for words in (
        "The model is not altered.",
        "The model is altered: layer 3 head 4 off",
        "There is no layer 77",
        "as it was again",
    ):
        assert words in told


# --- how it looks ------------------------------------------------------------------------------------------


@looks
async def test_the_looks_of_an_altered_model(
    home: Home, size: tuple[int, int], theme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    still = stand_still(monkeypatch, tmp_path)
    next(still)
    setup = replace(chat_setup(home, theme, Pace()), loader=loader_of(AlterableEngine(["It was a fox."])))
    settings = replace(setup.settings, chat=replace(setup.settings.chat, seed=7))  # it is shown
    async with chat(replace(setup, settings=settings), size) as user:
        camera = camera_of(user, size, theme)
        await user.ready()
        await user.sees(END_OF_CHAT)
        await user.say("/alter L3.H4 L7 0.5")
        await user.until(lambda: bar(user))
        await user.say("Who was it?")
        await user.sees("a fox.")
        await user.idle()
        user.screen._hint_line.clear()
        await camera.shoot("altered")
    camera.judge()
    next(still, None)
