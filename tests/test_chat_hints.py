"""What the chat says when a wish cannot be met, or was met with a side effect; each of it was once missed."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_chat_opening import notices, open_from_list
from textual.widgets import Input, OptionList

from llama_chat.chat.live import Status
from llama_chat.chat.words import format_figures, format_speed
from llama_chat.key_wishes import KeyWish
from llama_chat.sessions import SessionStore
from llama_chat.sessions.failures import explain, explain_os
from llama_chat.ui.app import ChatApp
from llama_chat.ui.rebinding import rebound
from llama_chat.ui.screens.key_help import help_lines
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.system_prompt import SystemPromptScreen
from llama_chat.ui.widgets.hint_line import HintLine, hint_rows
from llama_chat.ui.widgets.slider import Slider
from llama_chat.ui.widgets.status_bar import figures, state_text


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def hint(user: User) -> str:
    return user.screen.query_one(HintLine).text


# --- hints of more than a row -----------------------------------------------------------------------------


def test_a_hint_takes_the_rows_that_it_needs_and_no_more_than_there_are() -> None:
    text = "One two three. Four five six."
    assert hint_rows(text, 40, 2) == [text]
    assert hint_rows(text, 20, 2) == ["One two three. Four", "five six."]
    assert hint_rows(text, 20, 1) == ["One two three. …"]
    assert hint_rows(text, 8, 2) == ["One two", "three. …"]
    assert hint_rows(text, 8, 1) == ["One two…"]
    assert hint_rows(text, 0, 1) == [""]


@pytest.mark.parametrize(("size", "most"), [(WIDE, 2), (NARROW, 2), (SMALL, 1), ((40, 8), 1)])
async def test_both_halves_of_a_hint_are_seen(home: Home, size: tuple[int, int], most: int) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.say("/nonsense")
        await user.sees("There is no command")
        line, prompt = user.screen.query_one(HintLine).region, user.screen.prompt.region
        assert 1 <= line.height <= most
        assert line.bottom == prompt.y
        assert ("With a space" in user.seen) == (most > 1)


async def test_the_known_settings_are_named(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/set foo 3")
        await user.sees("There is no setting 'foo'.", "temperature, top_k,", "max_new_tokens.")


# --- commands ---------------------------------------------------------------------------------------------


async def test_a_slash_alone_says_where_the_commands_are_and_can_be_gone_on_with(home: Home) -> None:
    engine = FakeEngine()
    async with chat(home.setup(engine)) as user:
        await user.ready()
        await user.say("/")
        await user.sees("! A command goes on behind the slash.", "F1")
        assert user.screen.prompt.text == "/"
        await user.press(*"new", "enter")
        await user.until(lambda: user.screen.prompt.text == "", "not taken")
        assert hint(user) == ""
    assert engine.prompts == []


async def test_a_setting_without_a_value_tells_the_one_that_counts(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/set temperature")
        await user.sees("temperature is 0.7. /set temperature 1 would change it.")
        await user.say("/set top-k all")
        await user.sees("top-k is all from the next token on.")
        await user.say("/set top-k")
        await user.sees("top-k is all. ")


async def test_what_there_is_nothing_for_is_said(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await user.ready()
        await user.say("/again")
        await user.sees("There is nothing to answer yet.")
        await user.press("alt+left")
        await user.sees("There is no other branch here.")
        await user.say("hello")
        await user.idle()
        await user.press("ctrl+r")
        await user.sees("two", "2/2")
        await user.idle()
        await user.press("alt+right")
        await user.sees("This is the last of 2 branches.")
        await user.press("alt+left")
        await user.sees("1/2")
        await user.press("alt+left")
        await user.sees("This is the first of 2 branches.")


async def test_looking_for_another_reply_where_there_is_none_stops_nothing(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press("alt+left")
        await user.sees("There is no other branch here.")
        pace.step(1)
        await user.sees("word2")
        assert user.screen.chat.is_replying


async def test_a_typed_value_that_does_not_fit_is_told_in_the_chat(home: Home) -> None:
    async with chat(home.setup(), SMALL) as user:
        await user.ready()
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider))
        await user.press(*"9999", "enter")
        await user.sees("! temperature: 9999 is outside 0 to")  # and a row more
        assert hint(user) == "temperature: 9999 is outside 0 to 10."
        assert user.screen.bridge.sampling.current.temperature == 0.7


# --- a reply that is stopped by something else ------------------------------------------------------------


@pytest.mark.parametrize("key", ["ctrl+n", "list"])
async def test_leaving_a_reply_says_that_it_was_stopped_and_kept(home: Home, key: str) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine(["early", None], pace=pace))) as user:
        await user.say("about foxes")
        pace.step(1)
        await user.idle()
        await user.press("ctrl+n")
        await user.until(lambda: user.said == [])
        assert hint(user) == "", "nothing ran"
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await (user.press(key) if key != "list" else open_from_list(user, "fox"))
        await user.sees("The reply was stopped and kept in its session.")
        await user.until(
            lambda: [text for _, text in user.said] == ([] if key != "list" else ["about foxes", "early"])
        )
    assert "word1" in max(home.stored(), key=lambda talk: len(talk.path()[-1].text)).path()[-1].text


async def test_the_system_prompt_is_confirmed(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.ready()

        async def save(*keys: str) -> None:
            await user.press("f8")
            await user.until(lambda: isinstance(user.app.screen, SystemPromptScreen))
            await user.press(*keys, "ctrl+s")

        await save(*"Rhyme")
        await user.sees("Kept. The system prompt counts from the next reply on.")
        await user.say("count")
        pace.step(1)
        await user.sees("word0")
        await save()
        await user.sees("The system prompt is as it was.")
        assert user.screen.chat.is_replying
        await save(*["backspace"] * 5)
        told = "The reply was stopped and kept in its session. Kept. No system prompt counts"
        await user.until(lambda: hint(user).startswith(told))
        assert not user.screen.chat.is_replying


# --- a store that does not open ---------------------------------------------------------------------------


async def test_a_store_that_cannot_be_used_is_told_once(home: Home) -> None:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    store.close()
    with closing(sqlite3.connect(home.paths.sessions_file)) as connection:
        connection.execute("PRAGMA user_version = 999")
    app = ChatApp(home.setup(FakeEngine(["answer"])))
    async with app.run_test(size=NARROW) as pilot:
        user = User(app, pilot)
        await user.sees("was written by a newer llama-chat")
        for _ in range(2):
            await user.say("hello")
            await user.sees("answer", " not saved ")
            await user.idle()
        assert "not saved yet" not in user.seen
        assert len(notices(user)) == 1
        await user.press("ctrl+s")
        await user.until(lambda: "was written by a newer llama-chat" in hint(user))
        await user.press("ctrl+n")
        await user.until(lambda: user.said == [])
        await user.say("another")
        await user.sees("answer", " not saved ")
        await user.idle()
        assert notices(user) == []
    assert not app.bridge.close()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "Make room on the disk"),
        (errno.EROFS, "The disk is there for reading only"),
        (errno.EACCES, "Give yourself the right to write there"),
        (errno.ENOTDIR, "A file is where the folder should be"),
        (errno.EIO, "Set LLAMA_CHAT_HOME to a folder that can be written."),
    ],
)
def test_the_next_step_fits_the_cause(number: int, words: str) -> None:
    error = explain_os(OSError(number, "why"), Path("sessions.sqlite3"))
    assert error.hint.startswith(words)
    assert error.hint.endswith("LLAMA_CHAT_HOME to a folder that can be written.")


def test_a_full_disk_is_no_question_of_rights() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert "Make room" in explain(full, Path("sessions.sqlite3")).hint


async def test_a_home_that_cannot_be_written_is_told_before_anything_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("llama_chat.sessions.database.make_private_folder", refuse)
    app = ChatApp(home.setup())
    async with app.run_test(size=NARROW) as pilot:
        user = User(app, pilot)
        await user.sees("Read-only file system", "for reading only", "not saved yet")
    app.bridge.close(timeout_s=0.1)


# --- figures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tok_per_s", "speed"),
    [(0, "–"), (8.81, "8.8"), (9.96, "10.0"), (99.94, "99.9"), (99.96, "100"), (112.4, "112")],
)
def test_a_speed_has_one_form(tok_per_s: float, speed: str) -> None:
    assert format_speed(tok_per_s) == f"{speed} tok/s"
    assert format_figures(1204, tok_per_s) == f"1,204 tokens · {speed} tok/s"


def test_after_a_reply_the_bar_is_ready_and_names_the_last_speed() -> None:
    status = Status(model_state="ready", doing="ready", tok_per_s=8.8, first_token_s=0.21, reused_tokens=30)
    assert state_text(status)[0] == "● ready"
    assert [figure.texts[0].rstrip() for figure in figures(status)] == [
        "last 8.8 tok/s",
        "first 0.21 s",
        "reused 30",
    ]
    of_model = figures(replace(status, context_used=300, context_length=8192))
    assert "free 7,892" in [figure.texts[0].rstrip() for figure in of_model]
    running = replace(status, is_replying=True, doing="generating")
    assert state_text(running)[0].rstrip() == "● 8.8 tok/s"
    assert not any("tok/s" in figure.texts[0] for figure in figures(running))


# --- help and palette -------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [30, 80])
def test_the_key_help_sets_other_ways_apart(width: int) -> None:
    lines = [line.plain for line in help_lines(width)]
    text = " ".join(" ".join(lines).split())
    assert "swaps it with sending. · also Shift+Enter, Alt+Enter" in text
    assert "could not be. · also /reload" in text
    without_key = rebound([KeyWish("load_model", (), "settings")]).actions
    assert any(line.plain.startswith("/reload ") for line in help_lines(width, without_key))


async def test_short_words_find_names_only(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("ctrl+p")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        options = user.app.screen.query_one(OptionList)

        def listed() -> list[str | None]:
            return [options.get_option_at_index(index).id for index in range(options.option_count)]

        await user.press(*"the")
        await user.until(lambda: len(listed()) <= 2, "others are found")  # `to the end` is the other one
        assert listed()[0] == "theme"
        user.app.screen.query_one(Input).value = "shell"  # stands in the help of one
        await user.until(lambda: listed() == ["suspend"])


@pytest.mark.parametrize(("size", "is_told"), [(NARROW, True), (SMALL, False)])
async def test_the_palette_says_what_a_command_does_where_there_is_room(
    home: Home, size: tuple[int, int], is_told: bool
) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("ctrl+p")
        await user.sees("again", "Ctrl+R")
        assert ("Let the model" in user.seen) == is_told
        assert is_told or "…" not in user.seen.replace("search…", "").replace("Ask something…", "")
