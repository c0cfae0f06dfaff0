"""The chat on a real terminal: how it ends when somebody else ends it."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llama_chat.conversation import Message
from llama_chat.sessions import SessionStore

pexpect = pytest.importorskip("pexpect")
if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

TIMEOUT_S = 20
TESTS = Path(__file__).parent
LEAVES_SCREEN = "\x1b[?1049l"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    environment = os.environ | {
        "LLAMA_CHAT_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        "TERM": "xterm-256color",
    }
    spawned = pexpect.spawn(
        sys.executable,
        [str(TESTS / "fake_chat.py")],
        env=environment,
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=TIMEOUT_S,
    )
    yield spawned
    if not spawned.closed:
        spawned.close(force=True)


def ask(child: pexpect.spawn[str]) -> None:
    child.expect("sk something")
    child.send("count\r")
    child.expect("word9")


def kept_reply(home: Path) -> Message:
    store = SessionStore(home / "data" / "sessions.sqlite3")
    store.open()
    try:
        info = store.last()
        assert info is not None
        return store.load(info.id).path()[-1]
    finally:
        store.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_cleanly_and_the_reply_is_kept(
    child: pexpect.spawn[str], tmp_path: Path, number: int, code: int
) -> None:
    ask(child)
    child.kill(number)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == code
    assert LEAVES_SCREEN in child.before
    reply = kept_reply(tmp_path)
    assert "word9 " in reply.text
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"


def test_a_closed_terminal_ends_it_and_the_reply_is_kept(child: pexpect.spawn[str], tmp_path: Path) -> None:
    ask(child)
    child.ptyproc.fileobj.close()
    child.ptyproc.closed = child.closed = True
    _, status = os.waitpid(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    reply = kept_reply(tmp_path)
    assert "word9 " in reply.text
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"


def test_ctrl_q_during_a_reply_ends_it_and_gives_the_terminal_back(child: pexpect.spawn[str]) -> None:
    ask(child)
    child.send("\x11")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert LEAVES_SCREEN in child.before


def test_what_is_typed_while_it_starts_is_not_lost(child: pexpect.spawn[str], tmp_path: Path) -> None:
    child.send("typed ")
    child.expect("╭")
    child.send("early\r")
    child.expect("word9")
    child.send("\x11")
    child.expect(pexpect.EOF)
    store = SessionStore(tmp_path / "data" / "sessions.sqlite3")
    store.open()
    assert [info.title for info in store.list()] == ["typed early"]
    store.close()


def test_what_takes_long_at_the_end_is_told(child: pexpect.spawn[str], tmp_path: Path) -> None:
    ask(child)
    with closing(sqlite3.connect(tmp_path / "data" / "sessions.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        child.send("\x11")
        child.expect("waiting for the last messages to be kept; Ctrl.C leaves at once")
    child.expect("goes on with this chat")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_ctrl_c_gives_up_waiting_for_the_disk(child: pexpect.spawn[str], tmp_path: Path) -> None:
    ask(child)
    with closing(sqlite3.connect(tmp_path / "data" / "sessions.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        child.send("\x11")
        child.expect("leaves at once")
        child.send("\x03")
        child.expect("the last messages could not be kept")
        child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 1


@pytest.mark.parametrize("draft", ["half a thought", ""])
def test_words_that_were_not_sent_are_told_of(child: pexpect.spawn[str], draft: str) -> None:
    child.expect("sk something")
    child.send(draft + "\x11")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert ("Your unsent words were not kept." in child.before) == bool(draft)


@pytest.mark.parametrize(
    ("arguments", "term", "line", "code"),
    [
        (["--resume", "zzzz"], "xterm-256color", "No session begins with 'zzzz'.", 1),
        (["--resume", "zzzz"], "dumb", "No session begins with 'zzzz'.", 1),
    ],
)
def test_what_cannot_be_shown_is_said_before_the_screen_is_taken(
    tmp_path: Path, arguments: list[str], term: str, line: str, code: int
) -> None:
    environment = os.environ | {"LLAMA_CHAT_HOME": str(tmp_path), "TERM": term}
    said, status = pexpect.run(
        shlex.join([sys.executable, "-m", "llama_chat", *arguments]),
        env=environment,
        timeout=TIMEOUT_S,
        withexitstatus=True,
        cwd=str(TESTS.parent),
        encoding="utf-8",
    )
    assert status == code
    assert line in said
    assert "\x1b" not in said
