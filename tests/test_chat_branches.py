"""The message cursor, and what is done at any message of the path."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_chat_tree import says, stopped, store_reply

from llama_chat.sessions import SessionStore
from llama_chat.settings import ChatSettings
from llama_chat.ui.screens.system_prompt import SystemPromptScreen
from llama_chat.ui.widgets.action_line import ActionLine


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def action_line(user: User) -> str:
    return "".join(line.text for line in user.screen.query(ActionLine))


async def names(user: User, *words: str) -> None:
    """Wait until the line above the prompt has these words."""
    await user.until(lambda: all(each in action_line(user) for each in words), f"{words} not named")


async def talk(user: User, *questions: str) -> None:
    for question in questions:
        await user.say(question)
        await user.until(lambda question=question: ("user", question) in user.said, question)
        await user.idle()


async def chooses(user: User, text: str) -> None:
    """Wait until the message with this text is under the cursor."""

    def chosen() -> str:
        message = user.screen.chosen_message()
        return message.text if user.screen.transcript.cursor_id is not None and message is not None else ""

    await user.until(lambda: chosen() == text, f"{text!r} is not chosen")


async def cursor_on(user: User, text: str) -> None:
    """Move the cursor up to the message with this text."""
    for _ in user.said:
        await user.press("alt+up")
        await user.pilot.pause()
        message = user.screen.chosen_message()
        if message is not None and message.text == text:
            await chooses(user, text)
            return
    raise AssertionError(f"no {text!r} in {user.said}")


# --- the cursor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_the_cursor_goes_over_the_messages_and_leaves(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"])), size) as user:
        await user.press("alt+up")
        await says(user, "There is no message to choose yet.")
        await talk(user, "first", "second")
        await user.press("alt+up")
        await chooses(user, "two")
        await names(user, "r again", "Esc")
        await user.press("up", "up")
        await chooses(user, "one")
        await user.press("down")
        await chooses(user, "second")
        await names(user, "r again · e edit · t tokens · c copy · b branch · d delete", "Esc back")
        await user.press("alt+up", "alt+up", "alt+up", "alt+up")
        await chooses(user, "first")
        await user.press("escape")
        await user.until(lambda: user.screen.transcript.cursor_id is None)
        assert user.screen.prompt.has_focus
        assert action_line(user) == ""
        last = user.screen.chosen_message()
        assert last is not None
        assert last.text == "two"


async def test_a_click_on_a_head_chooses_and_one_on_an_arrow_shows_the_sibling(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first")
        await user.press("ctrl+r")
        await user.sees("‹ 2/2 ›")
        await user.idle()
        row = next(n for n, line in enumerate(user.seen.split("\n")) if "‹ 2/2 ›" in line)
        column = user.seen.split("\n")[row].index("‹")
        await user.pilot.click(offset=(5, row))
        await chooses(user, "two")
        await user.pilot.click(offset=(column, row))
        await user.sees("‹ 1/2 ›")
        await chooses(user, "one")
        row = next(n for n, line in enumerate(user.seen.split("\n")) if "‹ 1/2 ›" in line)
        await user.pilot.click(offset=(column + len("‹ 1/2 "), row))
        await chooses(user, "two")


# --- at any message ---------------------------------------------------------------------------------------


async def test_the_chosen_reply_is_answered_again_and_its_siblings_are_gone_through(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three"]))) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "one")
        await user.press("r", "enter")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "three")], str(user.said))
        await user.idle()
        await chooses(user, "three")
        await user.press("left_square_bracket")
        await user.until(lambda: user.said[-1] == ("assistant", "two"), str(user.said))
        await chooses(user, "one")
        await user.press("up", "right_square_bracket")
        await says(user, "This message has no other branch.")
        await user.press("alt+z")
        await user.until(lambda: user.said[-1] == ("assistant", "three"), str(user.said))


async def test_the_chosen_words_are_answered_anew(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three"]))) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "first")
        await user.press("ctrl+r")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "three")], str(user.said))
        await chooses(user, "first")


async def test_a_branch_begins_behind_a_reply_and_instead_of_words(home: Home) -> None:
    engine = FakeEngine(["one", "two", "three", "four"])
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "one")
        await user.press("b", "enter")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "one")], str(user.said))
        await says(user, "The path ends here now")
        assert user.screen.prompt.has_focus
        await talk(user, "another")
        assert [text for _, text in user.said] == ["first", "one", "another", "three"]
        await cursor_on(user, "another")
        await user.press("alt+n")
        await user.until(lambda: len(user.said) == 2, str(user.said))
        await says(user, "Say something else in its place.")
        await user.say("/branch")
        await says(user, "The path ends here already")
    (stored,) = home.stored()
    assert len(stored.messages) == 6
    assert [message.text for message in stored.path()] == ["first", "one"]


async def test_deleting_from_here_loses_nothing(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "second")
        await user.press("d", "enter")
        await user.until(lambda: len(user.said) == 2, str(user.said))
        await says(user, "2 messages are off the path.", "Alt+Z brings back")
        await chooses(user, "one")
        await user.press("alt+z")
        await user.until(lambda: len(user.said) == 4, str(user.said))
        await user.press("escape")
        await user.say("/delete")
        await user.until(lambda: user.said[-1] == ("user", "second"), str(user.said))
        await user.press("ctrl+r")
        await user.until(lambda: len(user.said) == 4, str(user.said))
        await user.idle()
    (stored,) = home.stored()
    assert len(stored.messages) == 5


async def test_what_is_done_elsewhere_stops_the_reply_that_runs_and_keeps_it(home: Home) -> None:
    pace = Pace()
    async with chat(home.setup(FakeEngine(["one", None], pace=pace))) as user:
        await talk(user, "first")
        pace.is_stepped = True
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await cursor_on(user, "one")
        await user.press("b", "enter")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "one")], str(user.said))
        await user.idle()
    (stored,) = home.stored()
    texts = [message.text for message in stored.messages.values()]
    assert "word0 word1 " in texts


# --- a reply in the user's words --------------------------------------------------------------------------


async def test_a_reply_is_edited_and_the_model_goes_on_from_there(home: Home) -> None:
    engine = FakeEngine(["one two", "three four", " and more"])
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "one two")
        await user.press("e", "enter")
        await user.until(lambda: user.screen.prompt.text == "one two")
        await user.sees("F5 goes on from its end")
        await user.press("backspace", "backspace", "backspace", *"2", "enter")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "one 2")], str(user.said))
        await says(user, "F5 lets the model go on")
        await user.press("f5")
        await user.until(lambda: user.said[-1] == ("assistant", "one 2 and more"), str(user.said))
        await user.idle()
        await user.sees("‹ 3/3 ›")
    (stored,) = home.stored()
    replies = stored.children(stored.path()[0].id)
    assert [message.text for message in replies] == ["one two", "one 2", "one 2 and more"]
    assert replies[1].reply is None
    assert replies[2].reply is not None
    store = SessionStore(home.paths.sessions_file)
    store.open()
    tokens = store.load_tokens(replies[2].id)
    store.close()
    assert [(token.text, token.chosen_by) for token in tokens] == [
        ("one ", "user"), ("2", "user"), (" ", "sampler"), ("and ", "sampler"), ("more", "sampler"),
    ]  # fmt: skip


async def test_f5_in_the_edited_reply_goes_on_at_once(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", " more"]))) as user:
        await talk(user, "first")
        await cursor_on(user, "one")
        await user.press("e", "enter")
        await user.until(lambda: user.screen.prompt.text == "one")
        await user.press("!", "f5")
        await user.until(lambda: user.said[-1] == ("assistant", "one! more"), str(user.said))
        assert user.screen.prompt.text == ""


async def test_a_reply_in_the_middle_goes_on_as_a_copy(home: Home) -> None:
    pace = Pace(is_stepped=True)
    engine = FakeEngine([None, "short", None], pace=pace)
    async with chat(home.setup(engine)) as user:
        await stopped(user, pace, 3)
        pace.is_stepped = False
        await talk(user, "next")
        pace.is_stepped = True
        await cursor_on(user, "word0 word1 word2 ")
        await names(user, "F5 go on")
        await user.press("f5")
        pace.step(2)
        await user.sees("word4")
        await user.press("escape")
        await user.idle()
        assert len(user.said) == 2
    (stored,) = home.stored()
    first, copy = stored.children(stored.path()[0].id)
    assert (first.text, copy.text) == ("word0 word1 word2 ", "word0 word1 word2 word3 word4 ")
    store = SessionStore(home.paths.sessions_file)
    store.open()
    assert len(store.load_tokens(first.id)) == 3
    assert [token.index for token in store.load_tokens(copy.id)] == [0, 1, 2, 3, 4]
    store.close()


async def test_an_imported_reply_goes_on(home: Home) -> None:
    store_reply(home, "stopped", "typed by hand", tokens=0)
    async with chat(home.setup(FakeEngine([" and on"]), continue_last=True)) as user:
        await user.idle()
        await user.sees("typed by hand")
        await user.press("f5")
        await user.until(lambda: user.said[-1] == ("assistant", "typed by hand and on"), str(user.said))
        await user.idle()


async def test_words_edited_while_a_reply_runs_stop_it_and_are_answered(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None, "fine"], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press("alt+e")
        await user.until(lambda: user.screen.prompt.text == "count")
        pace.is_stepped = False
        await user.press("!", "enter")
        await user.until(lambda: user.said == [("user", "count!"), ("assistant", "fine")], str(user.said))
        await user.idle()
        assert user.screen.prompt.text == ""
    (stored,) = home.stored()
    assert len(stored.messages) == 4


async def test_the_system_prompt_is_chosen_and_edited_in_its_card(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one"]), chat=ChatSettings(system="Be brief."))) as user:
        await talk(user, "first")
        await user.press("ctrl+r")  # the prompt is shown with the next path
        await user.sees("Be brief.", "‹ 2/2 ›")
        await user.idle()
        await cursor_on(user, "Be brief.")
        await names(user, "e edit", "c copy")
        await user.press("r", "enter")
        await says(user, "There is nothing to answer yet.")
        await user.press("e", "enter")
        await user.until(lambda: isinstance(user.app.screen, SystemPromptScreen), "no card")
