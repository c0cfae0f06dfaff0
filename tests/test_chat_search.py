"""Search in all sessions, the list of them, and the open one as a file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_chat_app import NARROW, SMALL, TIMEOUT_S, WIDE, Home, User, chat
from test_chat_opening import keep_talks, notices
from test_chat_tree import hint, says
from textual.widgets import Input, OptionList

from llama_chat.chat.exporting import export_session, parse_export
from llama_chat.errors import StoreError
from llama_chat.sessions import SearchHit, SessionStore
from llama_chat.sessions.exchange.files import read_sessions
from llama_chat.ui.screens.chat import ChatScreen
from llama_chat.ui.screens.search import SearchScreen
from llama_chat.ui.screens.session_card import SessionCard
from llama_chat.ui.transcript.entries import MessageEntry
from llama_chat.ui.widgets.session_list import SessionList


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def open_list(user: User) -> SessionList:
    await user.press("ctrl+s")
    await user.until(lambda: sessions_of(user), "no list")
    return sessions_of(user)[0]


def sessions_of(user: User) -> list[SessionList]:
    return [found for screen in user.app.screen_stack for found in screen.query(SessionList)]


def marked(user: User) -> list[str]:
    entries = user.screen.transcript._entries
    return [entry.text for entry in entries if isinstance(entry, MessageEntry) and entry.is_marked]


# --- search -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_a_hit_opens_its_session_on_the_branch_that_holds_it(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["the hidden treasure", "another answer", "Two words."]))) as user:
        await user.say("where is it?")
        await user.idle()
        await user.press("ctrl+r")
        await user.sees("another answer")
        await user.idle()
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("f3")
        await user.until(lambda: isinstance(user.app.screen, SearchScreen))
        await user.press(*"treas")
        await user.sees("where is it?", "hidden treasure")
        await user.press("enter")
        await user.until(
            lambda: user.said == [("user", "where is it?"), ("assistant", "the hidden treasure")]
        )
        assert marked(user) == ["the hidden treasure"]
        assert isinstance(user.app.screen, ChatScreen)
        assert user.screen.prompt.has_focus
    assert home.stored()[0].path()[-1].text == "the hidden treasure"


async def test_search_words_and_the_newest_query_wins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_talks(home, "about foxes", "about rivers")
    search, go_on = SessionStore.search, threading.Event()

    def slow(store: SessionStore, words: str, limit: int = 50) -> list[SearchHit]:
        if words == "fox":
            assert go_on.wait(TIMEOUT_S)
        return search(store, words, limit)

    monkeypatch.setattr(SessionStore, "search", slow)
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/search fox")
        await user.until(lambda: isinstance(user.app.screen, SearchScreen))
        await user.pilot.pause(0.2)
        user.app.screen.query_one(Input).value = "riv"
        await user.press("enter")  # before anything was found
        go_on.set()
        await user.until(lambda: user.said[:1] == [("user", "about rivers")], "not opened")
    async with chat(home.setup()) as user:
        await user.say('/search "foxes(" [b] AND')
        await user.sees("Nothing was found.")
        await user.press("escape")
        await user.until(lambda: isinstance(user.app.screen, ChatScreen))


async def test_an_answer_that_comes_while_the_card_closes_is_dropped(home: Home) -> None:
    await keep_talks(home, "treasure")
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("f3")
        await user.until(lambda: isinstance(user.app.screen, SearchScreen))
        screen = user.app.screen
        assert isinstance(screen, SearchScreen)
        await user.until(lambda: screen.query(OptionList), "no list")
        await screen.query_one(OptionList).remove()  # as when it is closed: its parts go first
        await screen._search("treasure")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen, "the card stays")


async def test_a_hit_in_the_open_session_is_scrolled_to(home: Home) -> None:
    answers = [f"answer {n} {'line ' * 200}" for n in range(8)]
    async with chat(home.setup(FakeEngine(["needle in it\n" + answers[0], *answers]))) as user:
        for n in range(4):
            await user.say(f"question {n}")
            await user.idle()
        assert "needle" not in user.seen
        await user.say("/search needle")
        await user.sees("needle in it")
        await user.press("enter")
        await user.until(lambda: isinstance(user.app.screen, ChatScreen))
        await user.sees("needle in it")
        assert not user.screen.transcript.follows_end
        assert len(user.said) == 8


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_sessions_are_renamed(home: Home, size: tuple[int, int]) -> None:
    await keep_talks(home, "about foxes")
    async with chat(home.setup(), size) as user:
        await user.say("about rivers")
        await user.idle()
        await user.say("/rename Deep [b]water")
        await user.until(lambda: user.screen.chat.title == "Deep [b]water")
        await open_list(user)
        await user.press(*"fox", "ctrl+r")
        await user.sees("Name of the session")
        await user.press("end", "!", "enter")
        await user.sees("about foxes!")
    assert home.titles() == ["Deep [b]water", "about foxes!"]


async def test_a_chat_is_named_before_its_first_words(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/rename Plans")
        await user.say("hello")
        await user.idle()
    assert home.titles() == ["Plans"]


# --- deleting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_deleted_session_comes_back_with_one_key(home: Home, size: tuple[int, int]) -> None:
    await keep_talks(home, "about foxes", "about rivers")
    async with chat(home.setup(), size) as user:
        await user.ready()
        listed = await open_list(user)
        await user.until(lambda: len(listed.shown_ids) == 2)
        await user.press("delete")
        await says(user, "“about rivers” is deleted. Alt+Z brings it back.")
        await user.until(lambda: len(listed.shown_ids) == 1, "still listed")
        await user.press("alt+z")
        await says(user, "“about rivers” is back.")
        await user.until(lambda: len(listed.shown_ids) == 2, "not listed again")
        await user.press(*"fox", "left", "delete")  # a letter of the words, not a session
        assert user.app.screen.query_one(Input).value == "fo"
    assert home.titles() == ["about rivers", "about foxes"]


async def test_after_the_open_session_is_deleted_a_new_chat_begins(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.say("hello")
        await user.idle()
        await open_list(user)
        await user.press("delete")
        await says(user, "is deleted.", "sessions undelete")
        assert user.said == []
        assert user.screen.chat.saved.session_id is None
        await user.press("escape", "alt+z")
        await user.until(lambda: user.said[:1] == [("user", "hello")], "not open again")
        listed = await open_list(user)
        await user.press("delete")
        await says(user, "is deleted.")
        await user.until(lambda: not listed.shown_ids)
        await user.press("escape")
        await user.say("something else")
        await user.idle()
        await user.press("alt+z")
        await user.until(lambda: user.said == [], "the deletion was undone instead of the step")
    assert home.titles() == ["something else"]


# --- files ------------------------------------------------------------------------------------------------


async def test_the_open_session_is_exported(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with chat(home.setup(FakeEngine(["Two words."])), WIDE) as user:
        await user.ready()
        await user.say("/export")
        await says(user, "There is nothing to export yet")
        await user.say("A fox/river?")
        await user.idle()
        session_id = str(user.screen.chat.saved.session_id)
        await user.say("/export")
        await says(user, f"a-fox-river-{session_id[:8]}.md")
        await user.say("/export")
        await says(user, f"a-fox-river-{session_id[:8]}-2.md")
        await user.say("/export talk.jsonl")
        await says(user, "talk.jsonl")
        await user.until(lambda: "Exported" in hint(user))
        await user.say("/export html talk.jsonl")
        await says(user, "does not end in .html")
        user.screen.prompt.clear_all()
        await user.say("/export jsonl talk.jsonl")
        await says(user, "talk.jsonl is there already.")
        await user.say("/export md missing/folder.md")
        await says(user, "cannot be written: No such file or directory.")
    (record,) = read_sessions(tmp_path / "talk.jsonl")
    assert record.conversation == home.stored()[0]
    assert "Two words." in (tmp_path / f"a-fox-river-{session_id[:8]}-2.md").read_text(encoding="utf-8")


def test_an_export_that_fails_leaves_no_file(home: Home, tmp_path: Path) -> None:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    with pytest.raises(StoreError, match="No session begins with"):
        export_session(store, "0" * 16, parse_export(str(tmp_path / "x.md")))
    store.close()
    assert not (tmp_path / "x.md").exists()


# --- the store at the start -------------------------------------------------------------------------------


async def test_what_became_of_a_damaged_store_is_told(home: Home) -> None:
    home.paths.sessions_file.parent.mkdir(parents=True)
    home.paths.sessions_file.write_bytes(b"this is no database" * 1000)
    async with chat(home.setup()) as user:
        await user.ready()
        await user.until(lambda: notices(user), "nothing is told")


async def test_the_store_is_tidied_beside_the_chat(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def tidy(store: SessionStore) -> None:
        begun.set()
        assert go_on.wait(TIMEOUT_S)

    monkeypatch.setattr(SessionStore, "tidy", tidy)
    async with chat(home.setup()) as user:
        await user.until(begun.is_set, "not tidied")
        await user.say("hello")  # is kept and answered meanwhile
        await user.idle()
        await user.sees("Two words.")
        go_on.set()


@pytest.mark.alone
async def test_many_sessions_are_listed_at_once(home: Home) -> None:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    with store.transaction() as connection:
        connection.executemany(
            "INSERT INTO sessions (id, title, created_at, updated_at, touched, model, date, message_count) "
            "VALUES (?, ?, ?, ?, ?, 'm', '2026-11-20', 1)",
            [
                (
                    f"{n:016x}",
                    f"Session {n}",
                    1.78e9 + n,
                    1.78e9 + n,
                    n,
                )
                for n in range(10_000)
            ],
        )
    store.close()
    async with chat(home.setup(), NARROW) as user:
        await user.ready()
        begin_s = time.perf_counter()
        await user.press("ctrl+s")
        await user.sees("Session 9999")
        assert isinstance(user.app.screen, SessionCard)
        elapsed_s = time.perf_counter() - begin_s
        listed = sessions_of(user)[0]
        assert len(listed._items._made) < 1_000, "lines were made that nobody sees"  # type: ignore[attr-defined]
        await user.press(*"4321")
        await user.sees("Session 4321")
        print(f"10,000 sessions listed in {elapsed_s:.3f} s")
