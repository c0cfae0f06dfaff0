"""How the screens look, against pictures that were looked at: `LLAMA_CHAT_UPDATE_SNAPSHOTS=1` makes new ones.

Beside each picture lies its text, whose difference can be read. The pictures are of one version of Textual
and Rich: where a newer one draws otherwise, make them again and look at them.
"""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from fake_engine import INFO, PLAN, FakeEngine
from test_chat_app import NARROW, SMALL, TIMEOUT_S, WIDE, Home, User, chat
from textual.widgets import Input, TextArea

from llama_chat.chat import talk as talk_module
from llama_chat.chat.setup import Puller
from llama_chat.conversation import Message, Reply, Role
from llama_chat.errors import Interrupted
from llama_chat.events import Sampling
from llama_chat.pull import PullProgress
from llama_chat.sessions import SessionStore, shelf
from llama_chat.settings import ChatSettings
from llama_chat.ui.screens.download import DownloadScreen
from llama_chat.ui.widgets import session_list

UPDATE = "LLAMA_CHAT_UPDATE_SNAPSHOTS"
SNAPSHOTS = Path(__file__).parent / "snapshots"
TODAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
DAY_S = 86_400
SHOTS = [
    ("chat", NARROW, "ember"),
    ("chat", NARROW, "paper"),
    ("chat", WIDE, "ember"),
    ("chat", WIDE, "paper"),
    ("sampling", NARROW, "ember"),
    ("sampling", WIDE, "paper"),
    ("sampling", SMALL, "ember"),
    ("sessions", NARROW, "paper"),
    ("sessions", WIDE, "ember"),
    ("search", NARROW, "paper"),
    ("search", WIDE, "ember"),
    ("search", SMALL, "ember"),
    ("edit", NARROW, "ember"),
    ("themes", NARROW, "ember"),
    ("themes", WIDE, "paper"),
    ("help", NARROW, "paper"),
    ("help", WIDE, "ember"),
    ("help", SMALL, "ember"),
    ("palette", NARROW, "ember"),
    ("palette", WIDE, "paper"),
    ("system", NARROW, "paper"),
    ("system", SMALL, "ember"),
    ("hint", NARROW, "ember"),
    ("hint", NARROW, "paper"),
    ("hint", SMALL, "ember"),
    ("download", NARROW, "ember"),
    ("download", WIDE, "paper"),
]
KEYS = {
    "sampling": ("ctrl+o",),
    "sessions": ("ctrl+s",),
    "search": ("f3", *"river"),
    "edit": ("alt+e",),
    "themes": ("f9",),
    "help": ("f1",),
    "palette": ("ctrl+p",),
    "system": ("f8",),
    "hint": (*"/nonsense", "enter"),
}
SIGNS = {
    "chat": "ask again tomorrow",
    "sampling": "max new tokens",
    "sessions": "Names for a boat",
    "search": "slow river, and every eve",
    "edit": "to be said otherwise",
    "themes": "Themes",
    "help": "Keys",
    "palette": "Commands",
    "system": "System prompt",
    "hint": "There is no command",
    "download": "left",
}
"""What stands on the screen once it is there."""
STORY = (
    "Once upon a time, there was a fox named **Felix**. He lived by a wide, slow river, and every evening he "
    'asked it the same question.\n\n```python\ndef ask(river: River) -> str:\n    return river.answer("Why?")'
    "\n```\n\nThe river never hurried. It said:\n\n- listen,\n- wait, and\n- ask again tomorrow.\n"
)


class FixedDate(date):
    """A calendar that stands still."""

    @classmethod
    def today(cls) -> date:
        return TODAY


@pytest.fixture
def _fixed_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One day, the time zone of nobody, and ids that are always the same."""
    for module in (talk_module, session_list):
        monkeypatch.setattr(module, "date", FixedDate)
    numbers = itertools.count(1)
    monkeypatch.setattr(shelf, "new_id", lambda: f"{next(numbers)}f2a91c0b7e4d586")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def fill(home: Home) -> None:
    """Sessions of several days; the last one holds the conversation that is looked at."""
    store = SessionStore(home.paths.sessions_file)
    store.open()
    titles = {"How do rivers know the sea?": 40, "Names for a boat": 3, "A poem": 1, "Foxes at the river": 0}
    updated = []
    for title, days in titles.items():
        info = store.create(title=title, model=INFO.name, date=TODAY.isoformat())
        store.add_messages(info.id, conversation(title), f"{title}-reply")
        updated.append((NOON - days * DAY_S, info.id))
    store.close()
    with closing(sqlite3.connect(home.paths.sessions_file)) as connection, connection:
        connection.executemany("update sessions set updated_at = ? where id = ?", updated)


def conversation(name: str) -> list[Message]:
    reply = Reply(
        seed=7,
        sampling=Sampling(),
        model=INFO.name,
        token_ids=tuple(range(100, 184)),
        finish_reason="end",
        prompt_tokens=36,
        reused_tokens=30,
        prefill_s=0.2,
        decode_s=0.75,
        plan=PLAN,
    )
    return [
        Message(f"{name}-words", None, Role.USER, "Tell me a *short* story about a fox.", NOON),
        Message(f"{name}-reply", f"{name}-words", Role.ASSISTANT, STORY, NOON + 60, reply),
    ]


def puller(go_on: threading.Event) -> Puller:
    """Stands still in the middle of the file."""

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        report(PullProgress(43_000_000, 98_400_000, 4.0, "SmolLM2-135M-Instruct.Q4_1.gguf"))
        while not go_on.wait(0.02):
            if cancel.is_set():
                raise Interrupted("Stopped.")

    return pull


async def picture(user: User) -> str:
    """The screen once nothing moves on it, with cursors that do not blink."""
    before = ""
    for _ in range(TIMEOUT_S * 20):
        for field in (*user.app.screen.query(TextArea), *user.app.screen.query(Input)):
            field.cursor_blink = False
        await user.pilot.pause(0.05)
        now = re.sub(r"terminal-\d+", "terminal", user.app.export_screenshot())
        if now == before:
            return now
        before = now
    raise AssertionError(f"the screen does not come to rest:\n{user.seen}")


def check(name: str, kind: str, seen: str) -> None:
    """Compare with the kept one, or keep it."""
    path = SNAPSHOTS / f"{name}.{kind}"
    if os.environ.get(UPDATE) == "1":
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(seen, encoding="utf-8", newline="\n")
    kept = path.read_text(encoding="utf-8")
    if kind == "txt":
        assert seen.splitlines() == kept.splitlines(), f"{path.name} differs"
    elif seen != kept:
        pytest.fail(
            f"{path.name} differs, in colours or styles if the text is the same; {UPDATE}=1 renews it"
        )


@pytest.mark.usefixtures("_fixed_time")
@pytest.mark.parametrize(
    ("what", "size", "theme"), SHOTS, ids=[f"{what}-{size[0]}-{theme}" for what, size, theme in SHOTS]
)
async def test_a_screen_looks_as_it_did(home: Home, what: str, size: tuple[int, int], theme: str) -> None:
    fill(home)
    go_on = threading.Event()
    setup = home.setup(
        FakeEngine(),
        chat=ChatSettings(theme=theme),
        pull=puller(go_on) if what == "download" else None,
        continue_last=True,
    )
    async with chat(replace(setup, model_label="SmolLM2 135M Instruct"), size) as user:
        user.app.animation_level = "none"
        if what == "download":
            await user.until(lambda: isinstance(user.app.screen, DownloadScreen), "no card")
        else:
            await user.ready()
            await user.sees(SIGNS["chat"])
            await user.press(*KEYS.get(what, ()))
        await user.sees(SIGNS[what])
        svg, text = await picture(user), user.seen
        go_on.set()
    check(f"{what}-{size[0]}x{size[1]}-{theme}", "txt", "\n".join(map(str.rstrip, text.split("\n"))) + "\n")
    check(f"{what}-{size[0]}x{size[1]}-{theme}", "svg", svg)
