"""The chat on a disk that refuses: the reply goes on, the user is told, and all is written once it can be."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import test_chat_app
from fake_engine import FakeEngine, Pace
from test_chat_app import WIDE, Home, User, chat

from llama_chat.paths import make_private_folder
from llama_chat.sessions import SessionStore, database
from llama_chat.sessions.exchange.importing import Source, import_files
from llama_chat.ui import app
from llama_chat.ui.app import ChatApp

home = test_chat_app.home


@dataclass(frozen=True)
class Refusal:
    """How SQLite is made to refuse what the recorder writes, and how that ends."""

    begin: str
    end: str
    why: str


REFUSALS = {
    # Nothing is ever large enough that a page could be added; and a statement that fails in the middle.
    "no space": Refusal(
        "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000000", "no space is left"
    ),
    # Root may write everywhere, so SQLite itself is told to refuse.
    "read-only": Refusal("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "read-only"),
}


def recorders_connection(user: User) -> sqlite3.Connection:
    """The one that everything is written with."""
    bridge = user.app.bridge
    return bridge.call(bridge.store._database.connection).result(10)


def in_one_line(user: User) -> str:
    """The text on the terminal; the reason stands behind a path, which may be so long that it is wrapped."""
    return " ".join(user.seen.split())


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_disk_that_refuses_in_mid_reply_is_told_and_all_is_kept_later(home: Home, kind: str) -> None:
    refusal, pace = REFUSALS[kind], Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace)), WIDE) as user:
        await user.ready()
        await user.say("count")
        pace.step(3)
        await user.sees("word2")
        await user.until(lambda: user.screen.chat.status.is_saved)
        theirs = recorders_connection(user)
        theirs.execute(refusal.begin)
        pace.step(400)  # more than fits into the pages that are there
        await user.until(lambda: "word402" in user.said[-1][1] or "word402" in user.seen, "the reply stands")
        await user.sees("not saved yet")
        await user.press("escape")
        await user.idle()
        await user.say("and now")
        pace.step(3)
        await user.until(lambda: len(user.said) == 4, "no second turn")
        await user.press("escape")
        await user.idle()
        await user.sees("not saved yet")
        await user.until(lambda: refusal.why in in_one_line(user), "the reason is not told")
        said = user.said
        theirs.execute(refusal.end)
        await user.until(lambda: user.screen.chat.status.is_saved, "the mark stays")
        await user.until(lambda: refusal.why not in in_one_line(user), "the reason stays")
        (stored,) = home.stored()
        assert [(message.role.value, message.text) for message in stored.path()] == said


async def test_a_folder_that_may_not_be_written_at_the_start_is_told_and_used_once_it_may(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(database, "make_private_folder", refuse)
    async with chat(home.setup(FakeEngine(["answer"])), WIDE) as user:
        await user.say("hello")
        await user.sees("answer", "not saved", "Permission denied", "Give yourself the right to write there")
        await user.idle()
        monkeypatch.setattr(database, "make_private_folder", make_private_folder)
        await user.until(lambda: user.screen.chat.status.is_saved, "the mark stays")
        assert "Permission denied" not in user.seen
        assert [message.text for message in home.stored()[0].path()] == ["hello", "answer"]


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_real_io_errors_in_mid_reply_are_outlived(tmp_path: Path) -> None:
    # In a process of its own: the limit counts for every file that it writes. Beyond it write() fails.
    script = """
import asyncio, resource, sys
from pathlib import Path
from fake_engine import FakeEngine, Pace
from test_chat_app import WIDE, Home, chat

async def main():
    home, pace = Home(Path(sys.argv[1])), Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace)), WIDE) as user:
        await user.ready()
        await user.say("count")
        pace.step(3)
        await user.sees("word2")
        await user.until(lambda: user.screen.chat.status.is_saved)
        file = home.paths.sessions_file
        written = file.with_name(file.name + "-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (written, resource.RLIM_INFINITY))
        pace.step(100)
        await user.sees("word102", "not saved yet")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await user.until(lambda: user.screen.chat.status.is_saved, "the mark stays")
        assert home.stored()[0].path()[-1].text.endswith("word102 ")

asyncio.run(main())
"""
    tests = Path(__file__).parent
    subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
        check=True,
        timeout=60,
    )


# --- a timer that never ticks -------------------------------------------------------------------------


async def test_a_timer_of_textual_that_is_late_does_not_stop_the_painting(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Textual 8.2.8 does with one that is overdue before its first look at the clock.
    monkeypatch.setattr(ChatApp, "set_timer", lambda *_args, **_kwargs: None)
    monkeypatch.setattr(app, "FRAME_S", 0.2)
    async with chat(home.setup(FakeEngine(["one two three four"]))) as user:
        await user.say("count")
        await user.sees("one two three four")
        await user.idle()


# --- a clock that jumps back --------------------------------------------------------------------------


@contextmanager
def clock_at(monkeypatch: pytest.MonkeyPatch, offset_s: float) -> Iterator[None]:
    """The computer's clock is off by so much."""
    real: Callable[[], float] = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + offset_s)
        yield


async def test_a_clock_that_jumps_back_changes_neither_order_nor_lease_nor_text(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine(["tomorrow's words", None], pace=pace)), WIDE) as user:
        await user.ready()
        with clock_at(monkeypatch, 90_000):
            await user.say("first")
            pace.step(9)
            await user.idle()
        with clock_at(monkeypatch, -90_000):
            await user.say("second")
            pace.step(3)
            await user.sees("word2")
            other = SessionStore(home.paths.sessions_file)
            other.open()
            other.tidy()
            running = other.load(other.list()[0].id).path()[-1]
            assert running.reply is not None
            assert running.reply.finish_reason is None
            other.close()
            await user.press("escape")
            await user.idle()
            await user.press("ctrl+n")
            await user.say("another chat")
            pace.step(3)
            await user.until(lambda: len(user.said) == 2)
            await user.press("escape")
            await user.idle()
    assert home.titles() == ["another chat", "first"]
    second, first = home.stored()
    assert [message.text for message in first.path()][::2] == ["first", "second"]
    assert next(message.text for message in second.path()) == "another chat"
    async with chat(home.setup(continue_last=True), WIDE) as user:
        await user.sees("another chat")
        await user.until(lambda: len(user.said) == 2)


async def test_a_chat_that_is_left_unsaved_asks_once_and_comes_back_from_a_file(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what the running reply had said is in it, though it never ended."""
    monkeypatch.setenv("HOME", str(make_private_folder(tmp_path / "user")))
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine(["First.", None], pace=pace)), WIDE) as user:
        await user.ready()
        await user.say("hello")
        pace.step(20)
        await user.idle()
        theirs = recorders_connection(user)
        theirs.execute("PRAGMA query_only = ON")
        await user.say("count")
        pace.step(3)
        await user.sees("word2")
        await user.until(lambda: not user.screen.chat.status.is_saved)
        said = [text for _, text in user.said]
        await user.press("ctrl+q")
        await user.sees("Not everything is saved yet")
        assert user.app.is_running
        await user.press("ctrl+q")
        await user.until(lambda: not user.app.is_running)
        rescued = app.rescue_chat(user.app.chat_screen.chat)
        theirs.execute("PRAGMA query_only = OFF")
    assert rescued is not None
    assert rescued.parent == tmp_path / "user"
    assert rescued.stat().st_mode & 0o077 == 0
    store = SessionStore(tmp_path / "other" / "sessions.sqlite3")
    store.open()
    (imported,) = import_files(store, [Source(rescued, rescued.name)])
    texts = [message.text for message in store.load(imported.info.id).path()]
    store.close()
    assert texts[:3] == said[:3]
    assert texts[3].startswith("word0 word1 word2")
    app.farewell(None, is_kept=False, has_unsent=False, rescued=rescued)
    assert f"sessions import {rescued}" in capsys.readouterr().err
