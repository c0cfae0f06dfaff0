"""Pause, step mode and the box above the prompt, as somebody at the keyboard has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat

from llama_chat.events import Token
from llama_chat.ui.stepping.next_token import NextToken
from llama_chat.ui.tokens.candidate_bars import CandidateBars

TEXT = "Once upon a time there was"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def bars(user: User) -> CandidateBars:
    return user.screen.query_one(CandidateBars)


async def waits_at(user: User, index: int) -> None:
    """Wait until the box shows the candidates of that token, and has the keyboard."""

    def shows() -> bool:
        awaiting = user.screen.chat.status.awaiting
        has_keyboard = any(each.has_focus for each in user.screen.query(CandidateBars))
        return awaiting is not None and awaiting.index == index and has_keyboard

    await user.until(shows, f"does not wait at token {index}")


async def steps(user: User) -> None:
    """A reply in step mode, which waits at its first token."""
    await user.ready()
    await user.press(*"/step", "enter")
    await user.until(lambda: user.screen.chat.status.hold == "stepping", "no step mode")
    await user.say("Tell me")
    await waits_at(user, 0)


async def kept_tokens(user: User) -> list[Token]:
    bridge, message = user.screen.bridge, user.screen.chat.conversation.path()[-1]
    done = bridge.read(bridge.store.load_tokens, message.id)
    await user.until(done.done, "no tokens")
    return list(done.result())


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_in_step_mode_each_token_is_the_users_to_choose(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine([TEXT])), size) as user:
        await steps(user)
        await user.sees('" and"')
        await user.press("down", "down", "enter")
        await waits_at(user, 1)
        await user.press("space")
        await waits_at(user, 2)
        await user.press("right")
        await waits_at(user, 3)
        await user.press("e")
        await user.press(*"no", "enter")
        await waits_at(user, 4)
        assert user.screen.chat.status.context_used > 0
        await user.press("escape")
        await user.until(lambda: not user.screen.query(NextToken), "the box stays")
        await user.idle()
        assert user.said[-1] == ("assistant", " riverupon a nothere was")
        assert user.screen.prompt.has_focus
        by = [token.chosen_by for token in await kept_tokens(user)]
        assert by == ["user", "sampler", "sampler", "user", "sampler", "sampler"]
        assert user.screen.chat.status.hold == ""


async def test_a_pause_is_seen_and_ends_by_the_same_key(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([TEXT], pace=pace))) as user:
        await user.ready()
        await user.press("alt+j")
        await user.sees("Nothing is being written")
        await user.say("Tell me")
        pace.step(2)
        await user.sees("Once upon")
        await user.press("alt+j")
        await user.until(lambda: user.screen.bridge.steering.hold == "paused", "not paused")
        pace.step(9)
        await waits_at(user, 2)
        await user.sees("paused · Alt+J goes on")
        assert "Esc stop " not in user.seen.splitlines()[-1]
        await user.press(*"/pause", "enter")
        await user.idle()
        assert user.said[-1] == ("assistant", TEXT)
        assert not user.screen.query(NextToken)


async def test_esc_stops_a_paused_reply_and_keeps_it(home: Home) -> None:
    pace = Pace(is_stepped=True)
    pace.step(1)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await steps(user)
        await user.press("alt+j")  # of a reply that waits: it goes on
        await user.until(lambda: not user.screen.query(NextToken), "still held")
        await user.press("alt+j")
        await user.until(lambda: user.screen.bridge.steering.hold == "paused", "not paused")
        pace.step(1)
        await waits_at(user, 1)
        await user.press("escape")
        await user.idle()
        reply = user.screen.chat.conversation.path()[-1].reply
        assert reply is not None
        assert reply.finish_reason == "stopped"
        assert user.screen.prompt.has_focus


async def test_the_sliders_reshape_what_is_waited_for(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TEXT])), WIDE) as user:
        await steps(user)
        await user.press("down")
        await user.until(lambda: bars(user).cursor_id == 21, "the cursor did not move")
        before = bars(user).bars.bars[0].after
        user.screen.screen.set_focus(user.screen.query("Slider").first())
        await user.press("end")
        await user.until(lambda: user.screen.bridge.sampling.current.temperature == 2, "not moved")
        await user.until(lambda: bars(user).bars.bars[0].after < before, "not reshaped")
        assert bars(user).cursor_id == 21
        bars(user).focus()
        await user.press("enter")
        await waits_at(user, 1)
        await user.press("alt+shift+j")
        await user.idle()
        assert (await kept_tokens(user))[0].sampling.temperature == 2


async def opens_sliders(user: User) -> None:
    await user.press("ctrl+o")
    await user.until(lambda: bool(user.screen.query("Slider:focus")), "no sliders")


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("closing", ["ctrl+o", "escape"])
async def test_the_choice_has_the_keyboard_again_after_the_sliders(
    home: Home, size: tuple[int, int], closing: str
) -> None:
    async with chat(home.setup(FakeEngine([TEXT])), size) as user:
        await steps(user)
        await opens_sliders(user)
        await user.press(closing)
        await waits_at(user, 0)
        await user.sees("Enter takes it")
        await user.press("down")
        await user.until(lambda: bars(user).cursor_id == 21, "the cursor did not move")
        await user.press("enter")
        await waits_at(user, 1)
        assert user.screen.chat.status.hold == "stepping"
        await user.press("escape")
        await user.idle()


async def test_begun_words_have_the_keyboard_again_after_the_sliders(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TEXT])), NARROW) as user:
        await steps(user)
        await user.press("tab")
        await user.until(lambda: user.screen.prompt.has_focus, "not in the prompt")
        await user.press(*"and")
        await opens_sliders(user)
        await user.press("ctrl+o")
        await user.until(lambda: user.screen.prompt.has_focus, "not in the prompt")


async def test_the_box_without_the_keyboard_says_how_to_get_there(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TEXT])), NARROW) as user:
        await steps(user)
        await user.sees("Enter takes it")
        await user.press("tab")
        await user.sees("Shift+Tab in the prompt, or a click, comes here to choose · Alt+J goes on")
        assert user.screen.prompt.has_focus
        assert "Enter takes it" not in user.seen
        await user.press("shift+tab")
        await user.sees("Enter takes it")
        await waits_at(user, 0)
        await user.press("tab")
        await user.sees("Shift+Tab in the prompt")
        await user.pilot.click("NextToken > .keys")
        await waits_at(user, 0)


async def test_a_candidate_that_ends_the_turn_ends_the_reply(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TEXT]))) as user:
        await steps(user)
        await user.press("space")
        await waits_at(user, 1)
        user.screen.chat.stepping.take(1)
        await user.idle()
        assert user.said[-1] == ("assistant", "Once ")


async def test_words_in_the_prompt_keep_the_keyboard(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([TEXT], pace=pace))) as user:
        await user.ready()
        await user.say("Tell me")
        pace.step(1)
        await user.sees("Once")
        await user.press(*"and then")
        await user.press("alt+j")
        await user.until(lambda: user.screen.bridge.steering.hold == "paused", "not paused")
        pace.step(3)
        await user.sees("paused · the next token")
        assert user.screen.prompt.has_focus
        assert user.screen.prompt.text == "and then"
        await user.press("escape")
        await user.idle()


async def test_who_leaves_while_it_waits_finds_what_was_chosen(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TEXT]))) as user:
        await steps(user)
        await user.press("down", "enter")
        await waits_at(user, 1)
    (conversation,) = home.stored()
    answer = conversation.path()[-1]
    assert answer.text == " the"
    assert answer.reply is not None
    assert answer.reply.finish_reason == "stopped"


async def test_a_summary_is_not_held_and_leaves_step_mode_as_it_is(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three", "A summary.", TEXT]))) as user:
        await user.ready()
        for words in ("first", "second", "third"):
            await user.say(words)
            await user.idle()
        await user.press("alt+shift+j")
        await user.until(lambda: user.screen.bridge.steering.hold == "stepping", "no step mode")
        await user.press("alt+k")
        await user.sees("were summarised")
        await user.idle()
        assert user.screen.bridge.steering.hold == "stepping"
        await user.say("Tell me")
        await waits_at(user, 0)


async def test_esc_ends_step_mode_before_a_reply(home: Home) -> None:
    async with chat(home.setup(FakeEngine([TEXT]))) as user:
        await user.ready()
        await user.press("alt+shift+j")
        await user.until(lambda: user.screen.bridge.steering.hold == "stepping", "no step mode")
        await user.press("escape")
        await user.until(lambda: not user.screen.bridge.steering.hold, "still in step mode")
        await user.say("Tell me")
        await user.idle()
        assert user.said[-1] == ("assistant", TEXT)
