from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from store_helpers import (
    FAILED,
    PLAN,
    PREFILLED,
    Screen,
    build_end,
    build_reply_message,
    build_token,
    build_tokens,
    build_turn,
    text_of,
)

from llama_chat.conversation import Message
from llama_chat.errors import StoreError
from llama_chat.events import Event, Finished, Forward, Loading, Token
from llama_chat.recorder import Recorder, ReplyBuilder
from llama_chat.sessions import SessionStore, StoreUnavailable

pytestmark = pytest.mark.alone

DATE = "2026-11-22"


class Chat:
    """A store, its recorder and a screen, with a reply begun."""

    def __init__(self, path: Path, *, patience_s: float = 0.25) -> None:
        self.path = path
        self.store = SessionStore(path)
        self.store.open()
        self.screen = Screen()
        self.recorder = Recorder(self.store, self.screen.deliver, patience_s=patience_s)
        self.recorder.start()
        conversation, self.reply = build_turn()
        self.session = self.store.create(date=DATE)
        messages = list(conversation.messages.values())
        self.recorder.call(self.store.add_messages, self.session.id, messages, conversation.leaf_id).result(
            10
        )

    def begin(self) -> None:
        self.recorder.begin(self.session.id, self.reply)

    def push(self, *events: object) -> None:
        for event in events:
            self.recorder.push(event)  # type: ignore[arg-type]  # events of all kinds

    def stored(self) -> Message:
        """As another process would see it."""
        other = SessionStore(self.path)
        other.open()
        try:
            return other.load(self.session.id).messages[self.reply.id]
        finally:
            other.close()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    chat = Chat(tmp_path / "sessions.sqlite3")
    yield chat
    chat.recorder.close()
    chat.store.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# --- the message that events make --------------------------------------------------------------------


def test_the_builder_adds_events_up() -> None:
    builder = ReplyBuilder(build_reply_message("p"))
    for event in (Loading(0.5, "weights"), PREFILLED, *build_tokens(3)):
        builder.feed(event)
    early = builder.message
    builder.feed(build_end(3, "stopped", text="\ufffd"))
    message = builder.message
    assert early.reply is not None
    assert early.reply.finish_reason is None
    assert (early.text, early.reply.prompt_tokens, early.reply.reused_tokens) == (" w0 w1 w2", 36, 10)
    assert early.reply.decode_s == pytest.approx(sum(token.seconds for token in build_tokens(3)[1:]))
    assert message.reply is not None
    assert message.text == " w0 w1 w2\ufffd"
    assert message.reply.token_ids == (100, 101, 102)
    assert (message.reply.finish_reason, message.reply.plan) == ("stopped", PLAN)
    assert (message.reply.prefill_s, message.reply.decode_s) == (0.25, 1.5)


def test_the_builder_keeps_what_came_before_a_failure() -> None:
    builder = ReplyBuilder(build_reply_message("p"))
    builder.feed(build_token(0))
    builder.feed(FAILED)
    assert builder.message.reply is not None
    assert builder.message.text == " w0"
    assert builder.message.reply.finish_reason == "failed"
    assert "device is gone" in builder.message.reply.error


def test_the_builder_goes_on_from_known_tokens() -> None:
    builder = ReplyBuilder(build_reply_message("p", text=" w0 w1", token_ids=(100, 101)))
    for token in build_tokens(4):
        builder.feed(token)
    assert builder.message.text == " w0 w1 w2 w3"
    assert builder.message.reply is not None
    assert builder.message.reply.token_ids == (100, 101, 102, 103)


BEGUN = replace(PREFILLED, plan=replace(PLAN, forwards=(Forward(0, 36, 36, "prefill"),)))


def test_the_builder_knows_the_plan_before_the_end() -> None:
    builder = ReplyBuilder(build_reply_message("p"))
    for event in (BEGUN, *build_tokens(5)):
        builder.feed(event)
    steps = Forward(36, 1, 4, "step")
    for _ in range(2):
        assert builder.message.reply is not None
        assert builder.message.reply.plan is not None
        assert builder.message.reply.plan.forwards == (Forward(0, 36, 36, "prefill"), steps)
        builder.feed(FAILED)


def continued_message() -> Message:
    """A reply that was cut in the middle of a character, after two tokens."""
    message = build_reply_message("p", text=" w0\ufffd", token_ids=(100, 101))
    assert message.reply is not None
    record = replace(
        message.reply,
        finish_reason="stopped",
        prompt_tokens=36,
        reused_tokens=4,
        prefill_s=0.5,
        decode_s=2.0,
        plan=PLAN,
    )
    return replace(message, reply=record)


def test_a_continued_reply_adds_up_and_completes_its_character() -> None:
    builder = ReplyBuilder(continued_message())
    assert builder.message.reply is not None
    assert builder.message.reply.finish_reason is None
    builder.feed(replace(BEGUN, reused_tokens=35, forced_text=" w0"))
    assert builder.message.text == " w0"
    for token in build_tokens(2, start=2):
        builder.feed(token)
    builder.feed(build_end(2))
    message = builder.message
    assert message.reply is not None
    assert message.text == " w0 w2 w3"
    assert message.reply.token_ids == (100, 101, 102, 103)
    assert (message.reply.prompt_tokens, message.reply.reused_tokens, message.reply.prefill_s) == (36, 4, 0.5)
    assert message.reply.decode_s == 2.0 + 1.5


@pytest.mark.parametrize("end", [build_end(0, "stopped"), FAILED])
def test_a_continued_reply_that_gets_no_further_stays_as_it_was(end: Event) -> None:
    builder = ReplyBuilder(continued_message())
    builder.feed(replace(end, plan=BEGUN.plan) if isinstance(end, Finished) else end)
    before, after = continued_message().reply, builder.message.reply
    assert before is not None
    assert after is not None
    assert builder.message.text == " w0\ufffd"
    assert after.plan == before.plan
    wanted = 2.0 + (1.5 if isinstance(end, Finished) else 0)
    assert (after.token_ids, after.prefill_s, after.decode_s) == (before.token_ids, before.prefill_s, wanted)


def test_a_reply_that_goes_on_is_reopened_and_its_plan_outlives_a_crash(chat: Chat) -> None:
    chat.begin()
    chat.push(BEGUN, *build_tokens(2), build_end(2, "stopped", text="\ufffd"))
    chat.screen.wait_for(lambda screen: any(isinstance(event, Finished) for event in screen.events))
    chat.reply = chat.recorder.call(chat.store.load, chat.session.id).result(10).messages[chat.reply.id]
    assert chat.reply.text.endswith("\ufffd")
    chat.begin()
    chat.push(replace(BEGUN, seconds=9.0, forced_text=" w0 w1"), *build_tokens(3, start=2))
    chat.screen.wait_for(lambda screen: " w4" in screen.text)
    stored = chat.stored()
    assert stored.text == " w0 w1 w2 w3 w4"
    assert stored.reply is not None
    assert stored.reply.finish_reason is None
    assert stored.reply.token_ids == (100, 101, 102, 103, 104)
    assert stored.reply.prefill_s == 0.25
    assert stored.reply.plan is not None
    assert stored.reply.plan.forwards == (Forward(0, 36, 36, "prefill"), Forward(36, 1, 4, "step"))
    chat.push(build_end(3))
    chat.screen.wait_for(lambda screen: isinstance(screen.events[-1], Finished))
    assert chat.stored().text == " w0 w1 w2 w3 w4"
    chat.recorder.close()
    assert [token.index for token in chat.store.load_tokens(chat.reply.id)] == [0, 1, 2, 3, 4]


# --- kept, then shown --------------------------------------------------------------------------------


def test_what_is_delivered_is_in_the_store_already(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite3"
    store = SessionStore(path)
    store.open()
    lacking: list[str] = []
    shown: list[Token] = []
    done = threading.Event()

    def deliver(events: list[object], saved: bool) -> None:
        shown.extend(event for event in events if isinstance(event, Token))
        with closing(sqlite3.connect(path)) as other:
            rows = other.execute("SELECT text FROM tokens ORDER BY place").fetchall()
            ended = other.execute("SELECT text FROM messages WHERE role = 'assistant'").fetchall()
        kept = "".join(text for (text,) in rows) or ended[0][0]
        if not (saved and kept.startswith(text_of(shown))):
            lacking.append(text_of(shown))
        if any(isinstance(event, Finished) for event in events):
            done.set()

    recorder = Recorder(store, deliver, frame_s=0.001)
    recorder.start()
    session = store.create(date=DATE)
    recorder.begin(session.id, build_reply_message(None))
    for token in build_tokens(100):
        recorder.push(token)
    recorder.push(build_end(100))
    assert done.wait(10)
    assert recorder.close()
    assert lacking == []
    assert len(shown) == 100
    store.close()


def test_a_reply_goes_through_in_order_and_is_packed(chat: Chat) -> None:
    chat.begin()
    events = [Loading(1.0, "ready"), PREFILLED, *build_tokens(50), build_end(50)]
    chat.push(*events)
    assert chat.recorder.close()
    assert chat.screen.events == events
    assert set(chat.screen.marks) == {True}
    builder = ReplyBuilder(chat.reply)
    for event in events:
        builder.feed(event)
    assert chat.stored() == builder.message
    assert [token.index for token in chat.store.load_tokens(chat.reply.id)] == list(range(50))
    with closing(sqlite3.connect(chat.path)) as other:
        assert other.execute("SELECT count(*) FROM tokens").fetchall() == [(0,)]


def test_tokens_of_one_frame_are_one_batch(tmp_path: Path) -> None:
    chat = Chat(tmp_path / "sessions.sqlite3")
    chat.begin()
    begin_s = time.monotonic()
    for token in build_tokens(120):
        chat.push(token)
        time.sleep(0.001)  # the pace of an engine, not a wait for a condition
    chat.screen.wait_for(lambda screen: len(screen.events) == 120)
    frames = (time.monotonic() - begin_s) * 30
    assert len(chat.screen.batches) <= frames + 2
    chat.recorder.close()
    chat.store.close()


def test_a_failed_reply_keeps_its_text_and_its_error(chat: Chat) -> None:
    chat.begin()
    chat.push(*build_tokens(3), FAILED)
    chat.screen.wait_for(lambda screen: FAILED in screen.events)
    message = chat.stored()
    assert message.reply is not None
    assert (message.text, message.reply.finish_reason) == (" w0 w1 w2", "failed")
    assert message.reply.error == "The device is gone. Plug it in."


def test_events_without_a_reply_are_handed_on(chat: Chat) -> None:
    chat.push(Loading(0.1, "weights"))
    chat.screen.wait_for(lambda screen: screen.events == [Loading(0.1, "weights")])
    assert chat.screen.marks == [True]


def test_tokens_without_a_reply_are_shown_and_called_unsaved(chat: Chat) -> None:
    chat.push(build_token(0))
    chat.screen.wait_for(lambda screen: len(screen.events) == 1)
    assert chat.screen.marks == [False]
    assert chat.recorder.unsaved


# --- calls -------------------------------------------------------------------------------------------


def test_calls_come_in_their_turn_and_give_their_result(chat: Chat) -> None:
    chat.begin()
    chat.push(*build_tokens(3))
    text = chat.recorder.call(lambda: chat.store.load(chat.session.id).messages[chat.reply.id].text)
    chat.push(build_token(3))
    assert text.result(10) == " w0 w1 w2"
    chat.screen.wait_for(lambda screen: screen.text == " w0 w1 w2 w3")


def test_a_call_that_fails_for_good_says_so_and_the_rest_goes_on(chat: Chat) -> None:
    assert isinstance(chat.recorder.call(chat.store.rename, "nope", "x").exception(10), StoreError)
    assert isinstance(chat.recorder.call(lambda: 1 // 0).exception(10), ZeroDivisionError)
    assert chat.recorder.call(chat.store.rename, chat.session.id, "Ships").result(10) is None
    assert not chat.recorder.unsaved
    assert chat.store.find(chat.session.id).title == "Ships"


def test_a_call_after_the_close_fails_at_once(chat: Chat) -> None:
    assert chat.recorder.close()
    assert isinstance(chat.recorder.call(chat.store.list).exception(1), StoreError)
    assert chat.recorder.close()


def test_a_screen_that_fails_does_not_stop_the_store(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "sessions.sqlite3")
    store.open()

    def deliver(events: object, saved: bool) -> None:
        raise RuntimeError("the screen is gone")

    recorder = Recorder(store, deliver)
    recorder.start()
    session, reply = store.create(date=DATE), build_reply_message(None)
    recorder.begin(session.id, reply)
    for event in (*build_tokens(5), build_end(5)):
        recorder.push(event)
    assert recorder.close()
    assert store.load(session.id).messages[reply.id].text == " w0 w1 w2 w3 w4"
    store.close()


# --- a store that takes nothing ----------------------------------------------------------------------


def test_painting_goes_on_while_the_store_is_locked_and_then_it_catches_up(chat: Chat) -> None:
    chat.begin()
    chat.push(build_token(0))
    chat.screen.wait_for(lambda screen: screen.text == " w0")
    with locked(chat.path):
        lock_s = time.monotonic()
        chat.push(build_token(1))
        chat.screen.wait_for(lambda screen: screen.text == " w0 w1")
        first_wait_s = time.monotonic() - lock_s
        assert 0.2 <= first_wait_s < 1.0
        index, slowest_s = 2, 0.0
        while time.monotonic() - lock_s < 1.2:
            push_s = time.monotonic()
            chat.push(build_token(index))
            index += 1
            chat.screen.wait_for(
                lambda screen, n=index: len([e for e in screen.events if isinstance(e, Token)]) == n
            )
            slowest_s = max(slowest_s, time.monotonic() - push_s)
        assert slowest_s < 0.2, "only the first batch waits"
        assert chat.recorder.unsaved
        assert set(chat.screen.marks[1:]) == {False}
        assert chat.stored().text == " w0"
        chat.push(build_end(index))
        chat.screen.wait_for(lambda screen: isinstance(screen.events[-1], Finished))
    chat.screen.wait_for(lambda screen: screen.batches[-1] == ([], True))
    assert chat.screen.marks.count(True) == 2
    assert not chat.recorder.unsaved
    assert chat.stored().text == chat.screen.text
    assert chat.recorder.close()
    assert [token.index for token in chat.store.load_tokens(chat.reply.id)] == list(range(index))


def test_a_turn_that_waits_for_the_store_is_called_unsaved(chat: Chat) -> None:
    with locked(chat.path):
        renamed = chat.recorder.call(chat.store.rename, chat.session.id, "Late")
        chat.begin()
        chat.push(build_token(0))
        chat.screen.wait_for(lambda screen: screen.text == " w0")
        assert chat.screen.batches[0] == ([], False)
        assert not renamed.done()
    assert renamed.result(10) is None
    chat.screen.wait_for(lambda screen: screen.batches[-1] == ([], True))
    assert chat.stored().text == " w0"


def recorders_connection(chat: Chat) -> sqlite3.Connection:
    """The one that the recorder writes with: a pragma on it is how SQLite is made to refuse."""
    return chat.recorder.call(chat.store._database.connection).result(10)


def test_a_full_disk_is_outlived(chat: Chat) -> None:
    theirs = recorders_connection(chat)
    theirs.execute("PRAGMA max_page_count = 1")
    chat.begin()
    tokens = [build_token(index, "x" * 5000) for index in range(20)]
    chat.push(*tokens)
    chat.screen.wait_for(lambda screen: screen.text == text_of(tokens))
    assert chat.recorder.unsaved
    theirs.execute("PRAGMA max_page_count = 1000000000")
    chat.screen.wait_for(lambda screen: screen.batches[-1] == ([], True))
    assert chat.stored().text == text_of(tokens)


def test_a_read_only_store_is_outlived(chat: Chat) -> None:
    # Root may write everywhere, so SQLite itself is told to refuse on the recorder's connection.
    theirs = recorders_connection(chat)
    theirs.execute("PRAGMA query_only = ON")
    chat.begin()
    chat.push(*build_tokens(3))
    chat.screen.wait_for(lambda screen: screen.text == " w0 w1 w2")
    assert chat.recorder.unsaved
    theirs.execute("PRAGMA query_only = OFF")
    chat.screen.wait_for(lambda screen: screen.batches[-1] == ([], True))
    assert chat.stored().text == " w0 w1 w2"


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_real_io_errors_are_outlived(tmp_path: Path) -> None:
    # In a process of its own: the limit counts for every file that it writes. Beyond it write() fails.
    script = """
import resource, sys
from pathlib import Path
from store_helpers import build_tokens, build_end
from test_recorder import Chat
path = Path(sys.argv[1])
chat = Chat(path)
chat.begin()
chat.recorder.call(lambda: None).result(10)
written = path.with_name(path.name + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (written, resource.RLIM_INFINITY))
events = [*build_tokens(100), build_end(100)]
chat.push(*events)
chat.screen.wait_for(lambda screen: screen.events == events)
assert chat.recorder.unsaved
assert chat.stored().text == ""
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
chat.screen.wait_for(lambda screen: screen.batches[-1] == ([], True))
assert chat.recorder.close()
assert chat.stored().text == chat.screen.text
chat.store.close()
"""
    tests = str(Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "sessions.sqlite3"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([tests, str(Path(tests).parent)])},
        check=True,
        timeout=60,
    )


def test_the_close_makes_a_last_attempt(chat: Chat) -> None:
    with locked(chat.path):
        chat.begin()
        chat.push(*build_tokens(3))
        chat.screen.wait_for(lambda screen: screen.text == " w0 w1 w2")
        closed: list[bool] = []
        closing_thread = threading.Thread(target=lambda: closed.append(chat.recorder.close(timeout_s=10)))
        closing_thread.start()
    closing_thread.join(10)
    assert closed == [True]
    assert chat.stored().text == " w0 w1 w2"


def test_a_close_that_cannot_keep_everything_says_so_in_time(tmp_path: Path) -> None:
    chat = Chat(tmp_path / "sessions.sqlite3", patience_s=0.05)
    with locked(chat.path):
        chat.begin()
        chat.push(*build_tokens(3))
        late = chat.recorder.call(chat.store.rename, chat.session.id, "Late")
        begin_s = time.monotonic()
        assert not chat.recorder.close(timeout_s=0.3)
        assert time.monotonic() - begin_s < 2
    assert isinstance(late.exception(1), StoreUnavailable)
    assert chat.recorder.unsaved
    assert chat.screen.text == " w0 w1 w2"
    chat.store.close()


def test_what_can_never_be_kept_does_not_hold_up_the_rest(chat: Chat) -> None:
    chat.recorder.begin("no such session", build_reply_message(None))
    chat.push(build_token(0))
    chat.begin()
    chat.push(build_token(0, " kept"))
    chat.screen.wait_for(lambda screen: screen.text == " w0 kept")
    assert chat.recorder.unsaved
    assert chat.stored().text == " kept"


def test_a_reply_that_is_kept_whole_makes_good_what_was_lost_of_it(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat.begin()
    chat.recorder.call(lambda: None).result(10)
    monkeypatch.setattr(chat.store, "append_tokens", _refuse)
    chat.push(build_token(0))
    chat.screen.wait_for(lambda screen: screen.text == " w0")
    assert chat.recorder.unsaved
    monkeypatch.undo()
    chat.push(build_end(1))
    chat.screen.wait_for(lambda screen: any(isinstance(event, Finished) for event in screen.events))
    assert not chat.recorder.unsaved
    assert chat.stored().text == " w0"


def _refuse(*_args: object) -> None:
    raise StoreError("never")


def test_a_reply_may_begin_before_its_session_has_an_id(chat: Chat) -> None:
    with locked(chat.path):
        made = chat.recorder.call(chat.store.create, date=DATE)
        reply = build_reply_message(None)
        chat.recorder.begin(lambda: made.result(0).id, reply)
        chat.push(build_token(0), build_end(1))
        chat.screen.wait_for(lambda screen: screen.text == " w0")
        assert chat.recorder.unsaved
        assert not made.done()
    session = made.result(10)
    assert chat.recorder.close()
    assert chat.store.load(session.id).messages[reply.id].text == " w0"


# --- a process that is killed ------------------------------------------------------------------------

_WRITER = """
import itertools, sys, time
from pathlib import Path
from store_helpers import build_reply_message, build_token
from llama_chat.recorder import Recorder
from llama_chat.sessions import SessionStore

def deliver(events, saved):
    assert saved
    sys.stdout.write("".join(event.text for event in events))
    sys.stdout.flush()

store = SessionStore(Path(sys.argv[1]))
store.open()
recorder = Recorder(store, deliver, frame_s=float(sys.argv[2]))
recorder.start()
session = store.create(date="2026-11-22")
recorder.begin(session.id, build_reply_message(None))
for index in itertools.count():
    recorder.push(build_token(index))
    time.sleep(0.0005)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("run", range(5))
def test_what_a_killed_process_had_shown_is_in_the_store(tmp_path: Path, run: int) -> None:
    path = tmp_path / "sessions.sqlite3"
    tests = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, path, str(0.002 * run)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
    )
    assert process.stdout is not None
    shown = process.stdout.read(100 + 977 * run)
    os.kill(process.pid, signal.SIGKILL)
    shown += process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    store = SessionStore(path)
    store.open()
    session = store.last()
    assert session is not None
    (message,) = store.load(session.id).messages.values()
    assert message.reply is not None
    assert message.text.startswith(shown.decode())
    assert message.reply.finish_reason == "interrupted"
    tokens = store.load_tokens(message.id)
    assert "".join(token.text for token in tokens) == message.text
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
