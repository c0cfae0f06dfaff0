"""The chat on a real terminal: how it ends when somebody else ends it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
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
