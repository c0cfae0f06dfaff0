"""Opening sessions, and what happens at the same time: words that wait, replies that run, notices that go."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace, loader_of
from test_chat_app import NARROW, TIMEOUT_S, WIDE, Home, User, chat, locked
from textual.content import Content

from llama_chat.chat.backstage import notes
from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.opening import OPENING
from llama_chat.conversation import Conversation, Message, Role, short_id
from llama_chat.errors import Interrupted, ModelError, StoreError
from llama_chat.events import Event, Piece, Token
from llama_chat.pull import PullProgress
from llama_chat.sessions import SessionInfo, SessionStore, StoreUnavailable
from llama_chat.ui.screens.session_card import SessionCard
from llama_chat.ui.transcript.entries import MessageEntry, NoticeEntry
from llama_chat.ui.widgets.session_panel import SessionPanel
from llama_chat.ui.widgets.two_ends import TwoEnds

CONTEXT_LENGTH = 120


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


class SlowStore:
    """Holds the reading of sessions back until it is let through; then fails, if it is to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: StoreError | None = None) -> None:
        self.go_on = threading.Event()
        load = SessionStore.load

        def wait(store: SessionStore, session_id: str) -> Conversation:
            assert self.go_on.wait(TIMEOUT_S)
            if error is not None:
                raise error
            return load(store, session_id)

        monkeypatch.setattr(SessionStore, "load", wait)


async def keep_talks(home: Home, *questions: str) -> list[str]:
    """The ids of sessions in which one question was answered each."""
    ids: list[str] = []
    async with chat(home.setup(FakeEngine(["answer one"]))) as user:
        for question in questions:
            await user.say(question)
            await user.idle()
            session_id = user.screen.chat.saved.session_id
            assert session_id is not None
            ids.append(session_id)
            await user.press("ctrl+n")
    return ids


async def open_from_list(user: User, words: str) -> None:
    """Choose the one session that has the words in its line."""
    await user.press("ctrl+s")
    await user.until(lambda: isinstance(user.app.screen, SessionCard), "no list")
    await user.press(*words, "enter")


def notices(user: User) -> list[str]:
    return [entry._text for entry in user.screen.transcript._entries if isinstance(entry, NoticeEntry)]


# --- words that wait for a session ----------------------------------------------------------------------


async def test_words_sent_before_the_last_session_is_read_go_into_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_talks(home, "remember me")
    store, engine = SlowStore(monkeypatch), FakeEngine(["answer two"])
    async with chat(home.setup(engine, continue_last=True, notices=("said at the start",))) as user:
        await user.ready()
        await user.say("what did I say?")
        await user.until(lambda: user.screen.chat.is_replying, "not taken")
        assert user.screen.prompt.text == ""
        assert user.said == []
        await user.say("and more")  # waits for the reply to those
        await user.sees("waiting: and more")
        store.go_on.set()
        await user.until(lambda: len(user.said) == 6, "not sent")
        await user.idle()
        assert [text for _, text in user.said] == [
            "remember me", "answer one", "what did I say?", "answer two", "and more", "answer two",
        ]  # fmt: skip
        assert "said at the start" in notices(user)
    assert "remember me" in engine.prompts[0]
    assert [len(conversation.path()) for conversation in home.stored()] == [6]


async def test_words_sent_right_after_another_session_was_chosen_go_into_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_talks(home, "about foxes")
    store = SlowStore(monkeypatch)
    async with chat(home.setup(FakeEngine(["new answer"]))) as user:
        await user.say("another talk")
        await user.idle()
        await open_from_list(user, "fox")
        await user.until(lambda: user.screen.chat.opening.is_going_on)
        await user.say("go on")
        await user.sees(OPENING)
        await user.say("and on")
        await user.sees("waiting: and on")
        await user.press("alt+q")
        user.screen.prompt.clear_all()
        store.go_on.set()
        await user.until(lambda: len(user.said) == 4, "not sent")
        await user.idle()
    monkeypatch.undo()
    first, second = home.stored()
    assert [message.text for message in first.path()][::2] == ["about foxes", "go on"]
    assert [message.text for message in second.path()] == ["another talk", "new answer"]


async def test_words_come_back_when_the_session_cannot_be_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_talks(home, "remember me")
    store = SlowStore(monkeypatch, StoreError("The session is damaged."))
    async with chat(home.setup(continue_last=True)) as user:
        await user.ready()
        await user.say("what did I say?")
        await user.until(lambda: user.screen.chat.is_replying, "not taken")
        store.go_on.set()
        await user.sees("The session is damaged.", "● ready")
        assert user.screen.prompt.text == "what did I say?"
        await user.press("enter")
        await user.sees("Two words.")
        await user.idle()
    assert home.titles() == ["what did I say?", "remember me"]


async def test_words_begin_a_chat_where_there_is_no_session_to_go_on_with(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    last = SessionStore.last

    def wait(store: SessionStore) -> SessionInfo | None:
        assert go_on.wait(TIMEOUT_S)
        return last(store)

    monkeypatch.setattr(SessionStore, "last", wait)
    async with chat(home.setup(continue_last=True)) as user:
        await user.say("hello")
        await user.until(lambda: user.screen.chat.is_replying, "not taken")
        go_on.set()
        await user.sees("new chat", "Two words.")
        await user.idle()
    assert home.titles() == ["hello"]


async def test_esc_gives_the_words_back_that_wait_and_the_session_still_opens(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_talks(home, "remember me")
    store = SlowStore(monkeypatch)
    async with chat(home.setup(continue_last=True)) as user:
        await user.ready()
        await user.say("too early")
        await user.until(lambda: user.screen.chat.is_replying, "not taken")
        await user.press("escape")
        assert user.screen.prompt.text == "too early"
        assert not user.screen.chat.is_replying
        store.go_on.set()
        await user.sees("answer one")
        assert user.screen.prompt.text == "too early"
        assert len(user.said) == 2


async def test_a_new_chat_is_not_overtaken_by_a_session_that_is_read_late(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_talks(home, "remember me")
    store = SlowStore(monkeypatch)
    async with chat(home.setup(continue_last=True)) as user:
        await user.ready()
        await user.press("ctrl+n")
        store.go_on.set()
        await user.say("something new")
        await user.sees("Two words.")
        await user.idle()
    monkeypatch.undo()
    assert [len(conversation.path()) for conversation in home.stored()] == [2, 2]


async def test_words_for_one_session_do_not_go_into_another(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        user.screen.chat.opening.expect()
        await user.say("for the first")
        assert user.screen.prompt.text == ""
        user.screen.chat.opening.expect()
        assert user.screen.prompt.text == "for the first"
        user.screen.chat.set_system("for the second")
        user.screen.chat.opening.expect()
        user.screen.chat.opening.open_none()
        assert user.screen.chat.conversation.system == ""


# --- the store is not open yet --------------------------------------------------------------------------


def test_what_is_asked_before_the_store_is_open_waits_for_it(home: Home) -> None:
    bridge = Bridge(home.setup(), lambda: None)
    try:
        asked = bridge.call(bridge.store.list)
        bridge.start()
        assert asked.result(TIMEOUT_S) == []
    finally:
        assert bridge.close()


async def test_the_list_waits_for_the_store(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_talks(home, "about foxes")
    go_on = threading.Event()
    opens = SessionStore.open

    def wait(store: SessionStore) -> None:
        assert go_on.wait(TIMEOUT_S)
        opens(store)

    monkeypatch.setattr(SessionStore, "open", wait)
    async with chat(home.setup()) as user:
        await user.press("ctrl+s")
        await user.ready()
        assert "not open" not in user.seen
        go_on.set()
        await user.sees("about foxes")


# --- the list -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_list_shows_the_id_that_resume_takes(home: Home, size: tuple[int, int]) -> None:
    foxes, rivers = await keep_talks(
        home, "about foxes", "about rivers, at such a length that the title has to be cut somewhere"
    )
    async with chat(home.setup(resume=short_id(foxes)), size) as user:
        await user.sees("about foxes", "answer one")
        await user.press("ctrl+s")
        await user.sees(short_id(foxes), short_id(rivers), "about rivers")
        if size == WIDE:
            assert user.screen.query(SessionPanel)
        await user.press(*short_id(rivers))
        await user.until(lambda: short_id(foxes) not in user.seen)
        await user.press("enter")
        await user.until(lambda: user.screen.chat.saved.session_id == rivers, "not opened")


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (50, "A title that is far too long for the li…  cafe1234"),
        (40, "A title that is far too long …  cafe1234"),
        (39, "A title that is far too long for the l…"),
    ],
)
def test_a_line_with_two_ends_keeps_the_left_one(width: int, line: str) -> None:
    ends = TwoEnds(Content("A title that is far too long for the line"), Content("cafe1234"))
    assert ends.line(width).plain == line


def test_a_line_with_two_ends_shows_both_where_there_is_room() -> None:
    assert TwoEnds(Content("ab"), Content("cd")).line(7).plain == "ab   cd"
    assert TwoEnds(Content("ab"), Content("cd")).line(5).plain == "ab"


async def test_opening_another_session_stops_and_keeps_the_reply_that_runs(home: Home) -> None:
    (foxes,) = await keep_talks(home, "about foxes")
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await open_from_list(user, "fox")
        await user.sees("answer one")
        assert user.screen.chat.saved.session_id == foxes
        assert not user.screen.chat.is_replying
        assert user.said == [("user", "about foxes"), ("assistant", "answer one")]
    counted = next(one.path() for one in home.stored() if one.path()[0].text == "count")
    assert counted[-1].text.startswith("word0 word1 ")
    assert counted[-1].reply is not None
    assert counted[-1].reply.finish_reason == "stopped"


async def test_the_store_is_closed_at_the_end(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.say("hello")
        await user.idle()
        store = user.app.bridge.store
    with pytest.raises(StoreError, match="is not open"):
        store.list()
    left = {path.name for path in home.paths.sessions_file.parent.iterdir()}
    assert not any(name.endswith(("-wal", "-shm")) for name in left), "the write-ahead log was not taken in"


# --- notices that are true no longer --------------------------------------------------------------------


async def test_that_the_model_was_not_fetched_is_not_said_once_it_was(home: Home) -> None:
    is_wanted = False

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> None:
        if not is_wanted:
            raise Interrupted("Stopped.")

    async with chat(home.setup(pull=pull)) as user:
        await user.sees("The model was not fetched.")
        is_wanted = True
        await user.say("/reload")
        await user.ready()
        assert notices(user) == []
        assert not user.screen.transcript.display, "an empty chat shows the welcome again"


async def test_errors_of_loading_and_of_a_long_prompt_go_when_they_are_mended(home: Home) -> None:
    engine = FakeEngine(["fine"], info=replace(INFO, context_length=64))
    errors = [ModelError("broken once"), ModelError("broken twice")]
    async with chat(home.setup(loader=loader_of(engine, errors=errors))) as user:
        await user.sees("broken once")
        await user.say("/reload")
        await user.sees("broken twice")
        assert notices(user) == ["broken twice"]
        await user.say("word " * 100)
        await user.sees("the context holds 64")
        assert len(notices(user)) == 1
        user.screen.prompt.clear_all()
        await user.say("short")
        await user.sees("fine")
        assert notices(user) == []


async def test_that_the_store_is_locked_is_not_said_once_all_is_kept(home: Home) -> None:
    await keep_talks(home, "before")
    async with chat(home.setup(FakeEngine(["answer"]))) as user:
        await user.ready()
        with locked(home):
            await user.say("hello")
            await user.sees("answer", "not saved yet")
            await user.idle()
            user.screen.chat.take(notes.NotKept(StoreUnavailable("sessions.sqlite3 is locked.")))
            assert any("is locked" in text for text in notices(user))
        await user.until(lambda: notices(user) == [], "still said")


# --- a full context -------------------------------------------------------------------------------------


def line_above(user: User) -> tuple[str, str] | None:
    """The notice about the context, and the words that stand right below it."""
    entries = user.screen.transcript._entries
    for notice, below in itertools.pairwise(entries):
        if isinstance(notice, NoticeEntry) and notice.about == "context":
            assert isinstance(below, MessageEntry)
            return notice._text, below.message.text
    return None


async def test_a_full_context_is_marked_where_the_messages_left(home: Home) -> None:
    engine = FakeEngine(["ten words " * 5], info=replace(INFO, context_length=CONTEXT_LENGTH))
    async with chat(home.setup(engine)) as user:
        for n in range(9):
            await user.say(f"question {n}")
            await user.idle()
        chat_of = user.screen.chat
        marked = line_above(user)
        dropped = chat_of.status.dropped_messages
        assert dropped > 2, "the test needs more than the first pair to leave"
        assert marked == (
            f"Context full: the {dropped} messages above have left; the model no longer sees them.",
            f"question {dropped // 2}",
        )
        assert len(notices(user)) == 1
        assert f"question {dropped // 2 - 1}" not in engine.prompts[-1]
        await user.press("ctrl+r")
        await user.until(lambda: chat_of.is_replying or "2/2" in user.seen)
        await user.idle()
        assert line_above(user) == marked
        session_id = chat_of.saved.session_id
    assert session_id is not None
    async with chat(home.setup(engine, resume=session_id)) as user:
        await user.sees("question 8")
        assert line_above(user) == marked
        assert user.screen.chat.status.dropped_messages == dropped
        await user.ready()
        await user.press("ctrl+n")
        await user.until(lambda: user.said == [])
        assert notices(user) == []
        assert user.screen.chat.status.dropped_messages == 0


async def test_no_line_where_the_model_sees_all(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.say("hello")
        await user.idle()
        assert line_above(user) is None
        assert user.screen.chat.status.dropped_messages == 0


# --- races and bugs -------------------------------------------------------------------------------------


class SlowToCount(FakeEngine):
    """Takes a turn up, and then prepares its prompt until it is told to go on."""

    def __init__(self) -> None:
        super().__init__([None], pace=Pace(is_stepped=True))
        self.is_counting = threading.Event()
        self.go_on = threading.Event()

    def count_tokens(self, pieces: Sequence[Piece]) -> int:
        self.is_counting.set()
        assert self.go_on.wait(TIMEOUT_S)
        return super().count_tokens(pieces)


async def test_esc_between_taking_a_turn_up_and_its_first_token_stops_it(home: Home) -> None:
    engine = SlowToCount()
    async with chat(home.setup(engine, loader=None)) as user:
        await user.say("too late to withdraw")
        await user.until(engine.is_counting.is_set)
        await user.press("escape")
        assert user.screen.chat.is_replying
        engine.go_on.set()
        await user.idle()
        await user.sees("Stopped. Nothing was written yet.")
    question, reply = home.stored()[0].path()
    assert question.text == "too late to withdraw"
    assert reply.reply is not None
    assert reply.reply.finish_reason == "stopped"


@pytest.mark.parametrize("round_number", range(4))
async def test_esc_in_the_last_moment_of_loading_withdraws_or_stops(home: Home, round_number: int) -> None:
    gate = threading.Event()
    engine = FakeEngine([None], pace=Pace(is_stepped=True))
    async with chat(home.setup(loader=loader_of(engine, gate=gate))) as user:
        await user.say("too early")
        await user.sees("waits for the model")
        both = [asyncio.to_thread(gate.set), user.press("escape")]
        await asyncio.gather(*(reversed(both) if round_number % 2 else both))
        await user.idle()
        if user.said:  # taken up just before
            await user.sees("Stopped.")
            assert user.screen.prompt.text == ""
        else:
            assert user.screen.prompt.text == "too early"
            await user.press("enter", "escape")
            await user.idle()
    texts = [message.text for conversation in home.stored() for message in conversation.path()]
    assert texts[:1] in ([], ["too early"])


async def test_a_listener_that_fails_in_mid_reply_is_told_and_the_chat_lives_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat(home.setup(FakeEngine(["one two three", "all is well"]))) as user:
        await user.ready()
        push = user.app.bridge.recorder.push

        def fail_at_the_third(event: Event) -> None:
            if isinstance(event, Token) and event.index == 2:
                monkeypatch.undo()
                raise RuntimeError("the wire is cut")
            push(event)

        monkeypatch.setattr(user.app.bridge.recorder, "push", fail_at_the_third)
        await user.say("count")
        await user.sees("one two", "The reply broke off: RuntimeError: the wire is cut")
        await user.idle()
        await user.say("again")
        await user.sees("all is well")
        await user.idle()
    replies = [message.reply for message in home.stored()[0].path() if message.reply]
    assert [reply.finish_reason for reply in replies] == ["failed", "end"]


async def test_a_listener_that_fails_before_the_reply_gives_the_words_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat(home.setup(FakeEngine(["all is well"]))) as user:
        await user.ready()

        def fail(session_id: str | Callable[[], str], message: Message) -> None:
            monkeypatch.undo()
            raise RuntimeError("the wire is cut")

        monkeypatch.setattr(user.app.bridge.recorder, "begin", fail)
        await user.say("count")
        await user.sees("The prompt could not be prepared: RuntimeError: the wire is cut")
        assert user.screen.prompt.text == "count"
        await user.press("enter")
        await user.sees("all is well")
        await user.idle()
    (conversation,) = home.stored()
    assert [message.role for message in conversation.path()] == [Role.USER, Role.ASSISTANT]
