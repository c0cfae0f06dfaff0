"""The tree in the chat: going on with a reply, there and back again, other words, other models, deleting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import INFO, PLAN, FakeEngine, Pace
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_chat_opening import notices

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.events import Sampling
from llama_chat.sessions import SessionStore


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def hint(user: User) -> str:
    return user.screen._hint_line.text


async def says(user: User, *parts: str) -> None:
    """Wait for a hint with these words."""
    for part in parts:
        await user.until(lambda part=part: part in hint(user), f"{part!r} is not the hint {hint(user)!r}")


async def stopped(user: User, pace: Pace, tokens: int) -> None:
    """Have a reply begun and stopped after so many tokens."""
    await user.say("count")
    pace.step(tokens)
    await user.sees(f"word{tokens - 1}")
    await user.press("escape")
    await user.idle()


def store_reply(home: Home, finish_reason: str | None, text: str = "word0 word1 ", tokens: int = 2) -> str:
    """A session whose last reply ended so; its id."""
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.create(title="An old talk", model=INFO.name, date="2026-11-20")
    store.set_model(info.id, INFO)
    reply = Reply(7, Sampling(), INFO.name, tuple(range(100, 100 + tokens)), finish_reason, plan=PLAN)  # type: ignore[arg-type]  # one of the reasons
    words = Message("words", None, Role.USER, "count", 1_780_000_000.0)
    answer = Message("reply", "words", Role.ASSISTANT, text, 1_780_000_001.0, reply)
    store.add_messages(info.id, [words, answer], "reply")
    store.close()
    return info.id


# --- going on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["f5", "/continue"])
async def test_a_stopped_reply_goes_on_from_its_last_token(home: Home, how: str) -> None:
    pace = Pace(is_stepped=True)
    engine = FakeEngine([None], pace=pace)
    async with chat(home.setup(engine)) as user:
        await stopped(user, pace, 3)
        await user.sees("Stopped. 3 tokens kept. F5 goes on.")
        (_, before) = user.screen.chat.conversation.path()
        assert before.reply is not None
        user.screen.bridge.sampling.change(temperature=0.1)
        if how == "f5":
            await user.press(how)
        else:
            await user.say(how)
        pace.step(2)
        await user.sees("word3 word4", "5 tokens ·")
        assert "Stopped." not in user.seen
        await user.press("escape")
        await user.idle()
        await user.sees("Stopped. 5 tokens kept.")
    assert engine.forced[-1] == (before.reply.token_ids, PLAN.forwards)
    assert engine.samplings[-1].temperature == 0.1
    (stored,) = home.stored()
    (_, after) = stored.path()
    assert (after.id, after.text) == (before.id, "word0 word1 word2 word3 word4 ")
    assert after.reply is not None
    assert after.reply.seed == before.reply.seed
    assert after.reply.token_ids == (100, 101, 102, 103, 104)
    assert after.reply.sampling == before.reply.sampling


async def test_a_reply_that_was_cut_off_by_a_crash_says_so_and_goes_on(home: Home) -> None:
    store_reply(home, "interrupted")
    async with chat(home.setup(FakeEngine(["word0 word1 word2 word3"]), continue_last=True)) as user:
        await user.idle()
        await user.sees("Interrupted. 2 tokens kept. F5 goes on.")
        await user.press("f5")
        await user.sees("word2 word3")
        await user.idle()
        assert "Interrupted." not in user.seen
    (stored,) = home.stored()
    assert stored.path()[-1].text == "word0 word1 word2 word3"
    assert stored.path()[-1].reply.finish_reason == "end"  # type: ignore[union-attr]  # an assistant's


async def test_a_reply_that_was_cut_off_before_its_first_word_is_answered_in_its_place(home: Home) -> None:
    store_reply(home, "interrupted", text="", tokens=0)
    async with chat(home.setup(FakeEngine(["word0 word1"]), continue_last=True)) as user:
        await user.idle()
        await user.sees("Interrupted.")
        await user.press("f5")
        await user.sees("word0 word1")
        await user.idle()
    (stored,) = home.stored()
    assert [message.id for message in stored.messages.values()] == ["words", "reply"]
    assert stored.messages["reply"].text == "word0 word1"


async def test_a_reply_cut_by_its_length_gets_as_much_again(home: Home) -> None:
    engine = FakeEngine([None])
    async with chat(home.setup(engine)) as user:
        await user.ready()
        user.screen.bridge.sampling.change(max_new_tokens=3)
        await user.say("count")
        await user.sees("Cut at max new tokens (3).")
        await user.idle()
        await user.press("f5")
        await user.until(lambda: "word5" in user.screen.chat.conversation.path()[-1].text, "it did not go on")
        await user.idle()
        assert user.screen.bridge.sampling.current.max_new_tokens == 6
    assert home.stored()[0].path()[-1].text.split() == [f"word{n}" for n in range(6)]


async def test_what_cannot_go_on_says_why(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("f5")
        await says(user, "There is no reply to go on with.")
        await user.say("hello")
        await user.idle()
        await user.press("f5")
        await says(user, "This reply came to its end.")


async def test_a_reply_that_another_model_wrote_stays_as_it_was(home: Home) -> None:
    store_reply(home, "stopped")
    other = FakeEngine(["other words"], info=replace(INFO, name="Other-1B", fingerprint="other"))
    async with chat(home.setup(other, continue_last=True)) as user:
        await user.sees("Stopped. 2 tokens kept.")
        await user.idle()
        await user.press("f5")
        await user.sees("This reply cannot go on: SmolLM2-135M-Instruct wrote it")
        await user.idle()
        assert user.screen.chat.conversation.path()[-1].reply.finish_reason == "stopped"  # type: ignore[union-attr]
        await user.sees("Stopped. 2 tokens kept.")
    assert home.stored()[0].path()[-1].text == "word0 word1 "


# --- there and back again ---------------------------------------------------------------------------------


async def test_steps_are_undone_and_redone_and_remembered(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three"]))) as user:
        await user.say("first")
        await user.idle()
        await user.press("ctrl+r")
        await user.sees("two")
        await user.idle()
        await user.say("second")
        await user.sees("three")
        await user.idle()
        await user.press("alt+z")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "two")], str(user.said))
        await says(user, "Alt+Y")
        await user.say("/undo")
        await user.until(lambda: user.said[-1] == ("assistant", "one"))
        await user.press("alt+z")
        await user.until(lambda: user.said == [])
        await user.press("alt+z")
        await says(user, "There is no step to undo.")
        await user.press("alt+y")
        await user.until(lambda: user.said[-1:] == [("assistant", "one")])
        await user.say("/redo")
        await user.until(lambda: user.said[-1] == ("assistant", "two"))
    (stored,) = home.stored()
    assert [message.text for message in stored.path()] == ["first", "two"]
    assert {message.text for message in stored.messages.values()} == {
        "first",
        "one",
        "two",
        "second",
        "three",
    }


async def test_undoing_the_first_words_keeps_the_session_when_the_next_are_refused(home: Home) -> None:
    engine = FakeEngine(["fine"], info=replace(INFO, context_length=64))
    async with chat(home.setup(engine)) as user:
        await user.say("first")
        await user.idle()
        await user.press("alt+z")
        await user.until(lambda: user.said == [])
        await user.say("far too long " * 60)
        await user.sees("The prompt has")
        await user.idle()
    (stored,) = home.stored()
    assert {message.text for message in stored.messages.values()} == {"first", "fine"}


async def test_a_reply_that_runs_is_stopped_by_undoing_and_kept(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(2)
        await user.sees("word1")
        await user.press("alt+y")  # nothing to redo: the reply is left alone
        await says(user, "There is no step to redo.")
        assert user.screen.chat.is_replying
        await user.press("alt+z")
        await user.until(lambda: user.said == [])
        await user.press("alt+y")
        await user.sees("Stopped. 2 tokens kept.")


# --- other words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_the_last_words_are_edited_into_a_sibling(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"])), size) as user:
        await user.say("a fax")
        await user.idle()
        await user.press(*"draft", "alt+e")
        await user.until(lambda: user.screen.prompt.text == "a fax")
        assert user.screen.prompt.has_class("-edited")
        await user.press("backspace", "backspace", *"ox", "enter")
        await user.sees("a fox", "two")
        await user.idle()
        assert not user.screen.prompt.has_class("-edited")
        assert user.screen.prompt.text == "draft"
        await user.press("alt+left")
        await user.until(lambda: user.said == [("user", "a fax"), ("assistant", "one")], str(user.said))
    (stored,) = home.stored()
    assert len(stored.messages) == 4


async def test_esc_leaves_the_edited_words_but_drops_changes_only_at_the_second_press(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.press("alt+e")
        await says(user, "There are no words to edit yet.")
        await user.say("hello")
        await user.idle()
        await user.say("/edit")
        await user.until(lambda: user.screen.prompt.text == "hello")
        await user.press("escape")
        await user.until(lambda: not user.screen.prompt.has_class("-edited"))
        assert user.screen.prompt.text == ""
        await user.press("alt+e", "!", "escape")
        await says(user, "Esc again drops it.")
        assert user.screen.prompt.text == "hello!"
        await user.press("escape")
        await user.until(lambda: user.screen.prompt.text == "")
        await user.press("alt+e")
        await user.until(lambda: user.screen.prompt.text == "hello")
        await user.press("ctrl+n")
        await user.until(lambda: not user.screen.prompt.has_class("-edited"))
        assert user.screen.prompt.text == "hello"


# --- another model ----------------------------------------------------------------------------------------


async def test_another_model_is_named_and_asked_about_once(home: Home) -> None:
    store_reply(home, "end")
    other = FakeEngine(["a new voice"], info=replace(INFO, name="Other-1B", fingerprint="other"))
    async with chat(home.setup(other, continue_last=True)) as user:
        await user.idle()
        await user.sees("written with SmolLM2-135M-Instruct, which is not loaded;", "now come from Other-1B.")
        await user.say("go on")
        await says(user, "Enter again sends it.")
        assert user.screen.prompt.text == "go on"
        await user.press("enter")
        await user.sees("a new voice")
        await user.idle()
        await user.say("and on")
        await user.until(lambda: len(user.said) == 6, str(user.said))
        await user.idle()
    async with chat(home.setup(FakeEngine(["x"], info=other.info), continue_last=True)) as user:
        await user.idle()
        assert not any("written with" in text for text in notices(user))


async def test_the_same_model_is_not_spoken_of(home: Home) -> None:
    store_reply(home, "end")
    async with chat(home.setup(continue_last=True)) as user:
        await user.idle()
        await user.sees("word0 word1")
        assert notices(user) == []
        await user.say("go on")
        await user.sees("Two words.")


# --- a long session ---------------------------------------------------------------------------------------


async def test_of_a_long_session_only_what_is_seen_is_laid_out(home: Home) -> None:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.create(title="Long", model=INFO.name, date="2026-11-20")
    talk = Conversation()
    for n in range(1_000):
        talk.append(Role.USER, f"question {n}")
        reply = Reply(7, Sampling(), INFO.name, (100,), "end", context_start=talk.leaf_id)
        talk.append(Role.ASSISTANT, f"answer {n}", reply=reply)
    store.add_messages(info.id, list(talk.messages.values()), talk.leaf_id)
    store.close()
    async with chat(home.setup(continue_last=True)) as user:
        await user.idle()
        await user.sees("answer 999")
        before = list(user.screen.transcript._entries)
        assert sum(entry.rows is not None for entry in before) < 50
        await user.press("ctrl+r")
        await user.sees("Two words.", "‹ 2/2 ›")
        await user.idle()
        kept = set(map(id, before)) & set(map(id, user.screen.transcript._entries))
        assert len(kept) == 1_999, "entries were made again"
