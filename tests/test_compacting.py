"""A context that fills up: the warning, and the summary that takes the place of the older part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace
from fake_network import FakeNetwork
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_chat_engine import setup_of, spelling

from llama_chat.events import Sampling
from llama_chat.rerun.recorded import recorded_replies
from llama_chat.sessions import SessionStore
from llama_chat.ui.widgets.status_bar import StatusBar, meter

SUMMARY = "We spoke of one, of two and of three."


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def says(user: User, words: str) -> None:
    await user.until(lambda: words in user.screen._hint_line.text, f"{words!r} was not said")


def test_the_meter_hatches_what_was_reused_so_that_it_needs_no_colour() -> None:
    assert meter(0.5, reused=0.25) == "▒▒██    "
    assert meter(0.30, reused=0.30) == "▒▒▍     "
    assert meter(0.05, reused=0.05) == "▍       "
    assert meter(2.0, reused=3.0) == "▒" * 8


async def talk(user: User, *words: str) -> None:
    for each in words:
        await user.say(each)
        await user.sees(each)
        await user.idle()


async def test_the_older_part_becomes_a_summary_on_a_branch_of_its_own(home: Home) -> None:
    engine = FakeEngine(["one.", "two.", "three.", SUMMARY, "five."])
    async with chat(home.setup(engine), WIDE) as user:
        await talk(user, "first")
        await user.press("alt+k")
        await says(user, "nothing to shorten")
        await talk(user, "second", "third")
        before = user.said
        await user.press("alt+k")
        await user.sees("2 messages were summarised", "Alt+Z brings them back")
        assert user.said[0] == ("user", f"Summary of our conversation so far (2 messages):\n\n{SUMMARY}")
        assert user.said[2:] == before[2:]
        await user.sees("▍ Summary of our conversation so far", "summary  ")
        await user.press("alt+z")
        await user.until(lambda: user.said == before)
        await user.press("alt+y")
        await user.until(lambda: user.said[2:] == before[2:] and user.said[0] != before[0])
        await talk(user, "fourth")
        assert "Summary of our conversation" in engine.prompts[-1]
        assert "first" not in engine.prompts[-1]
    (stored,) = home.stored()
    assert stored.path()[-1].text == "five."
    assert len(stored.messages) == 6 + 2 + 4 + 2


async def test_esc_leaves_everything_as_it_was(home: Home) -> None:
    pace = Pace()
    engine = FakeEngine(["one.", "two.", "three.", None], pace=pace)
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second", "third")
        before, messages = user.said, set(user.screen.chat.conversation.messages)
        pace.is_stepped = True
        await user.press("alt+k")
        pace.step(3)
        await user.sees("word2")
        await says(user, "Summarising 2 messages… Esc leaves the chat as it is.")
        await user.press("escape")
        await user.idle()
        await says(user, "Stopped. The chat is as it was.")
        assert user.said == before
        assert set(user.screen.chat.conversation.messages) == messages
        await user.sees("three.")
    (stored,) = home.stored()
    assert [(message.role.value, message.text) for message in stored.path()] == before
    assert set(stored.messages) == messages


async def test_words_that_wait_and_another_chat_come_after_the_end_of_it(home: Home) -> None:
    pace = Pace()
    engine = FakeEngine(["one.", "two.", "three.", SUMMARY, "four.", None], pace=pace)
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second", "third")
        pace.is_stepped = True
        await user.press("alt+k")
        pace.step(2)
        await user.sees("We spoke")
        await user.say("fourth")
        pace.step(100)
        await user.until(lambda: user.said[-1] == ("assistant", "four."), str(user.said))
        assert user.said[0][1].startswith("Summary of our conversation so far (2 messages)")
        await user.idle()
        said = len(user.screen.chat.conversation.messages)
        pace._steps = type(pace._steps)(0)
        await user.press("alt+k")
        pace.step(2)
        await user.sees("word1")
        await user.press("ctrl+n")
        await user.until(lambda: user.said == [], "no new chat")
    (stored,) = home.stored()
    assert len(stored.messages) == said


async def test_a_full_context_is_told_once_and_a_long_past_says_what_did_not_fit(home: Home) -> None:
    long = "many words " * 20
    engine = FakeEngine([*[long] * 7, SUMMARY], info=replace(INFO, context_length=300))
    async with chat(home.setup(engine), WIDE) as user:
        for n in range(6):
            await user.say(f"question {n}")
            await user.sees(f"question {n}")
            await user.idle()
            if "Context 9" in user.screen._hint_line.text:
                break
        await says(user, "% full")
        await says(user, "/compact shortens the older part; else the oldest turns leave.")
        await user.say("and more")
        await user.sees("Context full: the")
        await user.idle()
        await user.say("/compact")
        await user.sees("messages were summarised", "did not fit")


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_what_is_in_the_context_is_listed_and_can_be_shortened_from_there(
    home: Home, size: tuple[int, int]
) -> None:
    engine = FakeEngine(["one.", "two.", "three.", SUMMARY])
    async with chat(home.setup(engine), size) as user:
        await user.ready()
        await user.say("/context")
        await user.sees("Context", "free")
        await user.press("escape")
        await talk(user, "first", "second", "third")
        if size == SMALL:
            await user.press("alt+i")
        else:
            place = user.seen.splitlines()[-1].index("context")
            await user.pilot.click(StatusBar, offset=(place, 0))
        await user.sees("before: 4 messages", "your last words", "the last reply", "free", "of it reused")
        await user.press("alt+k")
        await user.until(lambda: "Summary of our" in user.said[0][1])
        await user.idle()


async def test_a_summary_is_edited_and_found_again_with_the_tokens_of_what_was_kept(home: Home) -> None:
    engine = FakeEngine(["one.", "two.", "three or four.", SUMMARY, "five."])
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second", "third")
        kept = user.screen.chat.conversation.path()[-1]
        await user.press("alt+k")
        await says(user, "The summary stands at the beginning")
        summary = user.screen.chat.conversation.turns[0]
        user.screen.editing.begin(summary)
        await user.until(lambda: user.screen.prompt.text == summary.text)
        await user.press("ctrl+end", *" And four.", "enter")
        await says(user, "The summary counts from the next reply on")
        assert user.said[0] == ("user", f"{summary.text} And four.")
        assert user.said[-1] == ("assistant", "three or four.")
        assert not user.screen.chat.is_replying
    async with chat(home.setup(engine, continue_last=True)) as user:
        await user.idle()
        await user.sees("4 messages are summarised above", "third", "three or four.")
        assert user.screen.chat.status.context_used < 100
        last = user.screen.chat.conversation.path()[-1]
        assert (last.created_at, last.reply.token_ids) == (kept.created_at, kept.reply.token_ids)  # type: ignore[union-attr]
        await user.press("f5")
        await says(user, "came to its end")
    store = SessionStore(home.paths.sessions_file)
    store.open()
    try:
        copied, original = list(store.load_tokens(last.id)), list(store.load_tokens(kept.id))
        record = store.record(store.list()[0].id)
        assert copied == original
        assert len(copied) == 3
        judged = [reply.message.id for reply in recorded_replies(record)]
        assert kept.id in judged
        assert last.id not in judged
    finally:
        store.close()


async def test_a_summary_that_the_end_of_the_program_cut_off_leaves_the_path_as_it_was(home: Home) -> None:
    pace = Pace()
    async with chat(home.setup(FakeEngine(["one.", "two.", "three.", None], pace=pace))) as user:
        await talk(user, "first", "second", "third")
        before = user.said
        pace.is_stepped = True
        await user.press("alt+k")
        pace.step(2)
        await user.sees("word1")
        user.app.exit()
    assert home.stored()[0].path()[-1].text.startswith("word0")
    async with chat(home.setup(continue_last=True)) as user:
        await user.idle()
        await user.until(lambda: user.said == before, str(user.said))
    (stored,) = home.stored()
    assert len(stored.messages) == 6, "the question that nobody has said stays in the tree"
    assert stored.path()[-1].text == "three."


async def test_on_the_real_loop_the_new_branch_is_read_once_and_then_reused(home: Home) -> None:
    network = FakeNetwork(logits_of=spelling)
    async with chat(setup_of(home, network, Sampling(temperature=1.0, max_new_tokens=12)), NARROW) as user:
        for words in ("first", "second", "third"):
            await user.say(words)
            await user.until(lambda words=words: words in [text for _, text in user.said], words)
            await user.idle()
        kept = user.screen.chat.conversation.path()[-1].reply
        await user.press("alt+k")
        await says(user, "The summary stands at the beginning")
        for words in ("fourth", "fifth"):
            await user.say(words)
            await user.until(lambda words=words: words in [text for _, text in user.said], words)
            await user.idle()
        replies = [message.reply for message in user.screen.chat.conversation.path() if message.reply]
    fourth, fifth = replies[-2:]
    assert replies[-3].token_ids == kept.token_ids  # type: ignore[union-attr]
    assert fifth.reused_tokens >= fourth.prompt_tokens + len(fourth.token_ids) - 1


async def test_a_summary_that_is_refused_says_why_and_leaves_the_chat_as_it_was(home: Home) -> None:
    engine = FakeEngine(["one.", "two.", "three."], info=replace(INFO, context_length=48))
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second", "third")
        before = user.said
        await user.press("alt+k")
        await user.sees("The prompt has", "the context holds 48")
        await user.idle()
        assert user.said == before
        assert user.screen.prompt.text == ""
    (stored,) = home.stored()
    assert len(stored.messages) == len(before)
