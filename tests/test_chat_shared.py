"""Two chats with one session: each says what it has to say on a branch of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_chat_app import Home, chat
from test_chat_opening import notices
from test_chat_tree import says, store_reply

from llama_chat.sessions import SessionStore

_OTHER = """
import sys
from pathlib import Path
from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling
from llama_chat.sessions import SessionStore
store = SessionStore(Path(sys.argv[1]))
store.open()
store.hold(sys.argv[2])
if sys.argv[3] == "writes":
    words = Message("theirs", "reply", Role.USER, "their question", 1.78e9)
    store.add_messages(sys.argv[2], [words], "theirs")
    reply = Message("running", "theirs", Role.ASSISTANT, "", 1.78e9, Reply(1, Sampling()))
    store.begin_reply(sys.argv[2], reply)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@contextmanager
def other_chat(home: Home, session_id: str, does: str = "reads") -> Iterator[None]:
    """Another process has the session open, and is in the middle of a reply if it `writes`."""
    command = [sys.executable, "-c", _OTHER, str(home.paths.sessions_file), session_id, does]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


def is_held_elsewhere(home: Home, session_id: str) -> bool:
    """What another process is told that opens the session."""
    code = (
        "import sys; from pathlib import Path; from llama_chat.sessions import SessionStore\n"
        "store = SessionStore(Path(sys.argv[1])); store.open(); print(store.hold(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(home.paths.sessions_file), session_id]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


async def test_a_session_that_another_chat_has_open_is_said_to_be(home: Home) -> None:
    session_id = store_reply(home, "stopped")
    with other_chat(home, session_id):
        async with chat(home.setup(continue_last=True)) as user:
            await user.idle()
            await user.sees("Another chat has this session open.")
            await user.press("f5")
            await says(user, "The session is open in another chat too.")
            await user.say("mine")
            await user.sees("Two words.")
            await user.idle()
            assert not any("Another chat" in text for text in notices(user))


async def test_a_reply_that_another_chat_writes_is_left_to_it(home: Home) -> None:
    session_id = store_reply(home, "end")
    with other_chat(home, session_id, "writes"):
        async with chat(home.setup(FakeEngine(["my answer"]), continue_last=True)) as user:
            await user.idle()
            await user.sees("their question", "written in another chat")
            assert "Interrupted" not in user.seen
            await user.press("f5")
            await says(user, "Another chat is writing this reply.")
            await user.say("my question")
            await user.sees("my answer")
            await user.idle()
            assert [text for _, text in user.said] == ["count", "word0 word1 ", "my question", "my answer"]
            await user.press("alt+left")
            await user.sees("their question")
        store = SessionStore(home.paths.sessions_file)
        store.open()
        messages = store.load(session_id).messages
        store.close()
        assert messages["running"].reply.finish_reason is None  # type: ignore[union-attr]  # an assistant's
        mine = next(message for message in messages.values() if message.text == "my question")
        assert mine.parent_id == "reply"


async def test_a_session_is_held_while_it_is_open(home: Home) -> None:
    first = store_reply(home, "end")
    async with chat(home.setup(continue_last=True)) as user:
        await user.idle()
        await user.sees("word0")
        assert is_held_elsewhere(home, first)
        await user.press("ctrl+n")
        await user.say("hello")
        await user.idle()
        second = str(user.screen.chat.saved.session_id)
        await user.until(user.app.bridge.call(lambda: True).done)  # what was asked before is done by then
        assert not is_held_elsewhere(home, first)
        assert is_held_elsewhere(home, second)
    assert not is_held_elsewhere(home, second)
