"""What the looks are looked at with: a day that stands still, sessions, files, models, shots of a screen."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_engine import INFO, PLAN, STORY, FakeEngine, Pace
from fake_shelves import TINY
from settling import strips_of
from test_chat_app import TIMEOUT_S, Home, User
from test_first_run import CPU, GPU, Machine
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from llama_chat import conversation as conversation_module
from llama_chat.chat import talk as talk_module
from llama_chat.chat.setup import ChatSetup
from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling
from llama_chat.markup.attached import block_of
from llama_chat.sessions import SessionStore, shelf, store
from llama_chat.settings import ChatSettings
from llama_chat.shelves.fit import ShortFit
from llama_chat.ui.first_run import facts
from llama_chat.ui.pacing import Paced
from llama_chat.ui.widgets import session_list

UPDATE = "LLAMA_CHAT_UPDATE_SNAPSHOTS"
SNAPSHOTS = Path(__file__).parent / "snapshots"
TODAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
DAY_S = 86_400
NOTES = "# Felix\n\n- lives by the river\n- asks it why\n"
THOUGHTS = "<think>\nThe notes name the fox. The story needs a river, and a question.\n</think>\n\n"
SESSIONS = {"How do rivers know the sea?": 40, "Names for a boat": 3, "A poem": 1, "Foxes at the river": 0}
"""Titles, and how many days ago; the last one is looked at."""
MODELS = {"Llama-3.2-1B-Instruct-Q4_K_M": 61.4, "SmolLM2-360M-Instruct-Q8_0": 0.0}


class FixedDate(date):
    """A calendar that stands still."""

    @classmethod
    def today(cls) -> date:
        return TODAY


def stand_still(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """One day, the time zone of nobody, ids that are always the same, and a disk with as much room."""
    for module in (talk_module, session_list):
        patch.setattr(module, "date", FixedDate)
    numbers = itertools.count(1)
    patch.setattr(shelf, "new_id", lambda: f"{next(numbers)}f2a91c0b7e4d586")
    for module in (conversation_module, shelf, store):
        patch.setattr(module, "time", SimpleNamespace(time=lambda: NOON + 180, monotonic=time.monotonic))
    patch.setattr(Paced, "ask", Paced.now)  # figures that come later would be in the next picture
    patch.setattr(facts.shutil, "disk_usage", lambda _: SimpleNamespace(free=123_000_000_000))
    patch.setenv("TZ", "UTC")
    patch.setenv("HOME", str(folder))
    for name in ("NO_COLOR", "HF_TOKEN", *(name for name in os.environ if name.startswith("LLAMA_CHAT_"))):
        if name not in (UPDATE, "LLAMA_CHAT_TEST_MODELS"):
            patch.delenv(name, raising=False)
    work = folder / "work"
    (work / "stories").mkdir(parents=True)
    (work / "notes.md").write_text(NOTES)
    (work / "river.py").write_text("def ask(): ...\n")
    patch.chdir(work)
    time.tzset()
    yield
    patch.undo()
    time.tzset()


# --- what there is to be seen -----------------------------------------------------------------------------


def fill(home: Home) -> None:
    """Sessions of several days; the last one holds the conversation that is looked at."""
    sessions = SessionStore(home.paths.sessions_file)
    sessions.open()
    updated = []
    for title, days in SESSIONS.items():
        info = sessions.create(title=title, model=INFO.name, date=TODAY.isoformat())
        sessions.add_messages(info.id, conversation(title), f"{title}-reply")
        updated.append((NOON - days * DAY_S, info.id))
    sessions.close()
    with closing(sqlite3.connect(home.paths.sessions_file)) as connection, connection:
        connection.executemany("update sessions set updated_at = ? where id = ?", updated)


def conversation(name: str) -> list[Message]:
    """A question with a file, and two answers to it; the second one was thought about."""
    words = f"Tell me a *short* story about the fox.\n{block_of('notes.md', NOTES)}"
    said = Message(f"{name}-words", None, Role.USER, words, NOON)
    return [
        said,
        _reply(f"{name}-first", said.id, "A fox slept by a river, and dreamt of the sea.", 12),
        _reply(f"{name}-reply", said.id, THOUGHTS + STORY, 84),
    ]


def _reply(id_: str, parent_id: str, text: str, tokens: int) -> Message:
    reply = Reply(
        seed=7,
        sampling=Sampling(),
        model=INFO.name,
        token_ids=tuple(range(100, 100 + tokens)),
        finish_reason="end",
        prompt_tokens=36,
        reused_tokens=30,
        prefill_s=0.2,
        decode_s=tokens / 112,
        plan=PLAN,
    )
    return Message(id_, parent_id, Role.ASSISTANT, text, NOON + 60, reply)


def add_models(home: Home) -> None:
    """Files in the models folder; one of them ran lately."""
    home.paths.models.mkdir(parents=True)
    first, *others = (home.paths.models / f"{name}.gguf" for name in MODELS)
    TINY.write(first)
    for path in others:
        shutil.copy(first, path)
    (home.paths.models / "half-fetched.gguf").write_bytes(b"GGUF")


def chat_setup(home: Home, theme: str, pace: Pace) -> ChatSetup:
    """A chat with sessions, models and two devices."""
    fill(home)
    add_models(home)
    machine = Machine(devices=(GPU, CPU))
    setup = machine.setup(home, is_first_run=False)
    asked = home.setup(FakeEngine(pace=pace), chat=ChatSettings(theme=theme), continue_last=True)
    return replace(
        asked,
        model_label="SmolLM2 135M Instruct",
        open_model=setup.open_model,
        devices=setup.devices,
        fit_of=lambda path, _: ShortFit("fits", 1_300_000_000, 20_000_000_000, "cpu", "Q4_K_M"),
    )


# --- shots ------------------------------------------------------------------------------------------------


@dataclass
class Camera:
    """Compares what stands on the screen with what was kept; differences are told all at once."""

    app: App[object]
    pilot: Pilot[None]
    size: tuple[int, int]
    theme: str
    differences: list[str] = field(default_factory=list)

    @property
    def seen(self) -> list[str]:
        """The lines on the terminal."""
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips_of(self.app)]

    async def shoot(self, name: str) -> None:
        """Once nothing moves; no cursor blinks."""
        await self._rest()
        svg = re.sub(r"terminal-\d+", "terminal", self.app.export_screenshot())
        path = SNAPSHOTS / f"{name}-{self.size[0]}x{self.size[1]}-{self.theme}"
        self._check(path.with_suffix(".txt"), "\n".join(self.seen) + "\n")
        self._check(path.with_suffix(".svg"), svg)

    async def _rest(self) -> None:
        before: object = None
        equal = 0
        for _ in range(TIMEOUT_S * 20):
            for field_ in (*self.app.screen.query(TextArea), *self.app.screen.query(Input)):
                field_.cursor_blink = False
            await self.pilot.pause(0.02)
            now = strips_of(self.app)
            equal = equal + 1 if now == before else 0
            if equal == 2:
                return
            before = now
        raise AssertionError("the screen does not come to rest:\n" + "\n".join(self.seen))

    def _check(self, path: Path, seen: str) -> None:
        if os.environ.get(UPDATE) == "1":
            SNAPSHOTS.mkdir(exist_ok=True)
            path.write_text(seen, encoding="utf-8", newline="\n")
        kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if seen.splitlines() != kept:
            now = f", where now:\n{seen}" if path.suffix == ".txt" else ""
            self.differences.append(path.name + now)

    def judge(self) -> None:
        """Fail if anything differs."""
        if self.differences:
            told = "\n".join(self.differences)
            pytest.fail(f"{told}\ndiffer; in colours where the text is the same; {UPDATE}=1 renews them")


def camera_of(user: User, size: tuple[int, int], theme: str) -> Camera:
    """For the chat of this user, where nothing glides."""
    user.app.animation_level = "none"
    return Camera(user.app, user.pilot, size, theme)
