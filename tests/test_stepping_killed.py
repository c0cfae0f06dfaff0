"""A chat that is killed while its reply waits for the user has lost nothing that was chosen."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("pexpect")
pytest.importorskip("pyte")
if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from pty_terminal import Terminal

from llama_chat.paths import user_paths
from llama_chat.sessions import SessionStore

TESTS = Path(__file__).parent
ALT_SHIFT_J = "\x1bJ"


@pytest.mark.alone
def test_nothing_is_lost_while_a_reply_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CHAT_HOME", str(tmp_path))
    environment = {
        "LLAMA_CHAT_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    }
    with Terminal(
        str(TESTS / "fake_chat.py"), environment=environment, size=(80, 24), command=sys.executable
    ) as terminal:
        terminal.wait_for("● ready")
        terminal.send(ALT_SHIFT_J)
        terminal.wait_for("ready, step mode")
        terminal.send("Count\r")
        terminal.wait_for("number 1,")
        terminal.send(" ")
        terminal.wait_for("number 2,")
        terminal.send("\x1b[B\r")  # the second candidate
        terminal.wait_for("number 3,")
        terminal.wait_for("word0  the")
        terminal.process.kill(signal.SIGKILL)
        terminal.process.wait()
    with closing(SessionStore(user_paths().sessions_file)) as store:
        store.open()
        conversation = store.load(store.list()[0].id)
        answer = conversation.path()[-1]
        assert answer.text == "word0  the"
        assert answer.reply is not None
        assert answer.reply.finish_reason == "interrupted"
        assert [token.chosen_by for token in store.load_tokens(answer.id)] == ["sampler", "user"]
