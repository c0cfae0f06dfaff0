"""What is typed while a message or a slider has the keyboard: no harm is done, no letter lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from rich.cells import cell_len
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_chat_branches import action_line, chooses, cursor_on, names, talk
from textual import events

from llama_chat.events import Sampling
from llama_chat.ui.actions.letters import HELD_S
from llama_chat.ui.widgets.action_line import key_wordings, wish_wordings
from llama_chat.ui.widgets.find_bar import FindBar
from llama_chat.ui.widgets.hint_line import HintLine
from llama_chat.ui.widgets.seed_row import SeedRow
from llama_chat.ui.widgets.slider import Slider

SENTENCES = ("hello dear", "dear model", "read it again", "explain that", "be brief", "can you", "just so")
CHARACTERS = {"space": " ", "left_square_bracket": "[", "slash": "/", "full_stop": "."}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def burst(user: User, text: str) -> None:
    """All of it at once, as a fast typist's keys arrive on a busy machine."""
    for character in text:
        name = "space" if character == " " else character
        user.app.post_message(events.Key(name, character))


def post(user: User, *names: str, apart_s: float = 0.0) -> list[events.Key]:
    """Keys of these names, pressed so far apart, that reach the app together."""
    keys = [events.Key(name, name if len(name) == 1 else CHARACTERS.get(name)) for name in names]
    for number, key in enumerate(keys):
        key.time = keys[0].time + number * apart_s
        user.app.post_message(key)
    return keys


def press_twice(user: User, letter: str) -> None:
    """As one does who means it."""
    post(user, letter, letter, apart_s=2 * HELD_S)


async def in_prompt(user: User, text: str) -> None:
    await user.until(lambda: user.screen.prompt.text == text, f"not in the prompt: {text!r}")


async def test_a_sentence_typed_at_a_chosen_message_is_in_the_prompt_and_does_nothing(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first", "second")
        said = user.said
        for number, sentence in enumerate(SENTENCES):
            await cursor_on(user, "one")
            if number % 2:
                burst(user, sentence)
            else:
                await user.press(*("space" if letter == " " else letter for letter in sentence))
            await in_prompt(user, sentence)
            assert user.screen.prompt.has_focus
            assert user.screen.transcript.cursor_id is None
            assert user.screen.editing.message is None
            assert user.app.clipboard == ""
            await user.until(lambda: action_line(user) == "")
            user.screen.prompt.clear_all()
        assert user.said == said


async def test_a_letter_says_what_it_will_do_before_it_is_done(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "one")
        await user.press("d")
        await names(user, "d or Enter: delete from here: 3 messages", "Esc: not")
        await user.press("escape")
        await names(user, "r again · e edit", "Esc back")
        await chooses(user, "one")
        await user.press("d", "up")
        await chooses(user, "first")
        await names(user, "r again")
        await user.press("down")
        press_twice(user, "d")
        await user.until(lambda: len(user.said) == 1, str(user.said))
        await user.press("alt+z")
        await user.until(lambda: len(user.said) == 4, str(user.said))
        await user.press("escape")
        await cursor_on(user, "second")
        await user.press("delete")
        await user.until(lambda: len(user.said) == 2, str(user.said))


async def test_keys_of_one_burst_are_done_in_their_order(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "first")
        post(user, "down", "down", "d", "enter")
        await user.until(lambda: len(user.said) == 2, str(user.said))
        await user.press("alt+z")
        await user.until(lambda: len(user.said) == 4, str(user.said))
        await user.press("escape")
        await cursor_on(user, "one")
        post(user, "down", "c", "enter", "up")  # what is asked for is done before the next key
        await chooses(user, "one")
        await user.until(lambda: user.app.clipboard == "second", user.app.clipboard)
        post(user, "down", "c", "c", "up", apart_s=2 * HELD_S)
        await chooses(user, "one")
        post(user, "up", "c", "c", apart_s=2 * HELD_S)
        await user.until(lambda: user.app.clipboard == "first", user.app.clipboard)
        post(user, "escape", *"dear")
        await in_prompt(user, "dear")
        assert len(user.said) == 4


async def test_a_letter_counts_for_the_message_only_that_it_was_pressed_at(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first", "second")
        await cursor_on(user, "one")
        await user.press("d")
        await names(user, "d or Enter: delete from here: 3 messages")
        user.screen.transcript.move_cursor(-1)  # as a click does; the screen is told later
        post(user, "enter")
        await names(user, "r again")
        await chooses(user, "first")
        post(user, "down", "d")  # the screen is told of the arrow when the letter is there already
        await names(user, "d or Enter: delete from here: 3 messages")
        await user.press("escape")
        await names(user, "r again")
        assert len(user.said) == 4


async def test_a_held_letter_does_nothing(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one"]))) as user:
        await talk(user, "first")
        await cursor_on(user, "one")
        keys = post(user, *"ddd")  # faster than anybody means it
        keys += post(user, *"ddd", apart_s=HELD_S / 4)  # after the delay that keyboards repeat with
        await names(user, "d or Enter: delete from here")
        await asyncio.sleep(2 * HELD_S)
        assert len(user.said) == 2
        again = events.Key("d", "d")
        again.time = keys[-1].time + 2 * HELD_S
        user.app.post_message(again)
        await user.until(lambda: len(user.said) == 1, str(user.said))
        await cursor_on(user, "first")
        first, second, third = (events.Key("d", "d") for _ in range(3))
        second.time = first.time + 4 * HELD_S  # the delay of a held key
        third.time = second.time + HELD_S / 4
        for key in (first, second, third):
            user.app.post_message(key)
        await names(user, "d or Enter: delete from here")
        await asyncio.sleep(2 * HELD_S)
        assert len(user.said) == 1
        await user.press("enter")
        await user.until(lambda: not user.said, str(user.said))


async def test_brackets_and_digits_mean_their_own_behind_a_letter(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two\n\n```\necho 2\n```\n"]))) as user:
        await talk(user, "first")
        await user.press("ctrl+r")
        await user.sees("‹ 2/2 ›")
        await user.idle()
        await cursor_on(user, user.said[-1][1])
        post(user, "r", "1")
        await user.until(lambda: user.app.clipboard == "echo 2", user.app.clipboard)
        post(user, "r", "left_square_bracket", "enter")
        await user.until(lambda: user.said[-1] == ("assistant", "one"), str(user.said))
        await names(user, "r again")
        post(user, "d", "slash")
        await user.until(lambda: user.screen.query(FindBar), "no find bar")
        assert user.screen.prompt.text == ""
        assert len(user.said) == 2


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL, (40, 8)])
async def test_no_hint_hides_the_keys_of_a_chosen_message(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["one"])), size) as user:
        await talk(user, "first")
        await user.press("alt+up")
        await user.sees("r again")
        user.screen.hint("Something else is said. " * 4)
        await user.sees("Something else is said.", "r again")
        if size[1] < 16:
            assert user.screen.query_one(HintLine).region.height == 1
        await user.press("d")
        await user.sees("d or Enter: delete from here")
        assert "Something else is said." in user.seen


def test_the_keys_are_named_in_one_row_of_any_width() -> None:
    keys = ["r again", "e edit", "F5 go on", "c copy", "b branch", "d delete", "[ ] other branch", "Esc back"]
    wordings = key_wordings(keys)
    assert wordings[0] == " · ".join(keys)
    assert "r again · e edit · F5 go on · c copy · b branch · d delete · [ ] · Esc back" in wordings
    assert "r again · e F5 c b d [ ] · Esc back" in wordings
    assert wordings[-1] == "r e F5 c b d [ ] Esc"
    assert [cell_len(words) for words in wordings] == sorted(map(cell_len, wordings), reverse=True)
    wishes = wish_wordings("d", "delete from here", "2 messages")
    assert [cell_len(words) for words in wishes] == sorted(map(cell_len, wishes), reverse=True)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_sentence_typed_at_the_sliders_changes_none(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        for sentence in ("dear", "look -", "3 things", "1.5x"):
            if not user.screen.query(Slider):
                await user.press("ctrl+o")
            await user.until(lambda: user.screen.query(Slider), "no sliders")
            user.screen.query(Slider).first().focus()
            await user.until(lambda: isinstance(user.screen.focused, Slider))
            burst(user, sentence)
            await in_prompt(user, sentence)
            user.screen.prompt.clear_all()
        row = user.screen.query(SeedRow).first()
        row.focus()
        await user.until(lambda: row.has_focus)
        burst(user, "let it be")
        await in_prompt(user, "let it be")
        assert user.screen.bridge.sampling.current == Sampling()
        assert user.screen.chat.seed == -1


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_keys_at_the_sliders_are_done_in_their_order(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider), "no slider")
        sampling = user.screen.bridge.sampling
        first, second = list(user.screen.query(Slider))[:2]
        first.focus()
        await user.until(lambda: first.has_focus)
        post(user, "1", "down", "1", "up", "0", "full_stop", "5", "enter")
        await user.until(lambda: (first.value, second.value) == (0.5, 1), f"{first.value}, {second.value}")
        assert sampling.current.temperature == 0.5
        post(user, "0", "full_stop", "7", "5", "backspace", "enter", *"hello")
        await in_prompt(user, "hello")
        await user.until(lambda: sampling.current.temperature == 0.7, str(sampling.current))


async def test_the_sliders_say_that_they_have_the_keyboard(home: Home) -> None:
    async with chat(home.setup(), WIDE) as user:
        await user.ready()
        assert "Del default" not in user.seen
        await user.press("ctrl+o")
        await user.until(lambda: isinstance(user.screen.focused, Slider))
        await user.sees("Del default")
        await user.press("2", "enter")
        await user.until(lambda: user.screen.bridge.sampling.current.temperature == 2.0)
        await user.press("delete")
        await user.until(lambda: user.screen.bridge.sampling.current == Sampling())
        await user.press("escape")
        await user.until(lambda: "Del default" not in user.seen)
