"""What the chat shows of replies that the user wrote, and takes back when it is true no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine, Pace
from test_chat_app import WIDE, Home, User, chat
from test_chat_branches import talk
from test_chat_stumbles import LONG
from test_chat_tree import says, stopped
from test_chat_tree_screen import open_tree

from llama_chat.chat.context.figures import context_rows
from llama_chat.chat.context.summaries import INSTRUCTION
from llama_chat.sessions import SessionStore
from llama_chat.ui.screens.tree import TreeScreen
from llama_chat.ui.widgets.find_bar import FindBar


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def edited(user: User, text: str) -> None:
    """`text` stands in the place of the last reply."""
    await user.press("alt+up")
    await user.until(lambda: user.screen.transcript.cursor_id is not None, "nothing is chosen")
    await user.press("e", "enter")
    await user.until(lambda: user.screen.editing.is_reply, "the reply is not edited")
    user.screen.prompt.load_text(text)
    await user.press("enter")
    await user.until(lambda: user.said[-1] == ("assistant", text), str(user.said))


async def test_an_edited_reply_says_so_and_its_context_is_estimated(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"])), WIDE) as user:
        await talk(user, "first")
        counted = user.screen.chat.status
        assert not counted.is_estimate
        await edited(user, "my own words")
        await says(user, "Kept as you wrote it.")
        await user.sees(f"{INFO.name} · edited by you", "‹ 2/2 ›")
        status = user.screen.chat.status
        assert status.is_estimate
        assert 0 < status.context_used < 100
        await user.sees(f"≈{status.context_used} / ")
        rows = context_rows(user.screen.chat.conversation.path(), status)
        assert [row.name for row in rows] == ["2 messages", "free"]
        await open_tree(user)
        await user.sees("my own words", "edited  ")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)
        await talk(user, "second")
        assert not user.screen.chat.status.is_estimate
        await user.until(lambda: "Kept as you wrote it." not in user.seen, "it still says so")


async def test_words_without_a_reply_count_in_the_context(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two"]))) as user:
        await talk(user, "first", "second")
        whole = user.screen.chat.status.context_used
        await user.press("alt+up")
        await user.until(lambda: user.screen.transcript.cursor_id is not None, "nothing is chosen")
        await user.press("d", "enter")
        await user.until(lambda: user.said[-1] == ("user", "second"), str(user.said))
        status = user.screen.chat.status
        assert status.is_estimate
        assert 0 < status.context_used <= whole + 10
        rows = context_rows(user.screen.chat.conversation.path(), status)
        assert "since then: 1 message" in [row.name for row in rows]
        assert sum(row.tokens for row in rows if row.is_part) == status.context_length


async def test_how_a_reply_was_stopped_is_said_of_that_one_only(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None, "two"], pace=pace))) as user:
        await stopped(user, pace, 3)
        await user.sees("Stopped. 3 tokens kept. F5 goes on.")
        assert user.screen._hint_line.text == "", "said twice"
        pace.is_stepped = False
        pace.step(100)
        await user.press("ctrl+r")
        await user.until(lambda: user.said[-1] == ("assistant", "two"), str(user.said))
        await user.until(lambda: "3 tokens kept" not in user.seen, "it is still said")


async def test_how_a_reply_ended_out_of_sight_is_said_as_long_as_it_is_true(home: Home) -> None:
    pace = Pace()
    async with chat(home.setup(FakeEngine([LONG, None, "two"], pace=pace))) as user:
        await talk(user, "first")
        pace.is_stepped = True
        await user.say("count")
        pace.step(3)
        await user.sees("word2")
        await user.press("pageup")
        await user.until(lambda: not user.screen.transcript.follows_end, "not scrolled")
        await user.press("escape")
        await says(user, "Stopped. 3 tokens kept; F5 goes on from there.")
        pace.is_stepped = False
        pace.step(100)
        await user.idle()
        await user.press("ctrl+r")
        await user.until(lambda: user.said[-1] == ("assistant", "two"), str(user.said))
        await user.until(lambda: "kept; F5" not in user.screen._hint_line.text, "it is still said")


async def test_another_system_prompt_keeps_tokens_and_what_was_cut_goes_on(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None, None], pace=pace))) as user:
        await stopped(user, pace, 3)
        original = user.screen.chat.conversation.path()[-1]
        user.screen.chat.set_system("Be brief.")
        await user.until(lambda: user.said[0] == ("system", "Be brief."), str(user.said))
        copy = user.screen.chat.conversation.path()[-1]
        assert copy.reply is not None
        assert (copy.reply.plan, copy.reply.prompt_tokens) == (None, 0)
        assert user.screen.chat.status.is_estimate
        pace.is_stepped = False
        await user.press("f5")
        pace.step(3)
        await user.until(lambda: len(user.said[-1][1]) > len(copy.text), "it does not go on")
        await user.press("escape")
        await user.idle()
    store = SessionStore(home.paths.sessions_file)
    store.open()
    try:
        before = list(store.load_tokens(original.id))
        assert before
        assert list(store.load_tokens(copy.id))[: len(before)] == before
        assert store.model_of_reply(copy.id) == store.model_of_reply(original.id) is not None
    finally:
        store.close()


async def test_the_tree_stays_while_messages_leave_the_conversation(home: Home) -> None:
    pace = Pace()
    engine = FakeEngine(["one.", "two.", "three.", None], pace=pace)
    async with chat(home.setup(engine)) as user:
        await talk(user, "first", "second", "third")
        pace.is_stepped = True
        await user.press("alt+k")
        pace.step(3)
        await user.sees("word2")
        assert INSTRUCTION[:20] not in user.seen  # the user has not said that
        await open_tree(user)
        await user.sees("(asks for a summary)")
        tree = user.app.screen
        assert isinstance(tree, TreeScreen)
        user.screen.chat.stop()
        pace.step(1)
        await user.idle()
        await user.press("home", "left", "end", "right", "up", "slash", *"one")
        await user.sees("one.")
        assert user.app.screen is tree


async def test_words_that_come_back_leave_the_find_bar_its_focus_and_esc_closes_it(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("first")
        pace.step(2)
        await user.sees("word1")
        await user.say("later")
        await user.press("ctrl+l")
        await user.until(lambda: user.screen.query(FindBar), "no bar")
        await user.until(lambda: user.screen.focused is not user.screen.prompt, "the prompt has the focus")
        user.screen.chat.stop()
        pace.step(1)
        await user.idle()
        await user.until(lambda: user.screen.prompt.text == "later", "the words did not come back")
        await user.press(*"wo")
        await user.until(lambda: user.screen.prompt.text == "later")
        user.screen.prompt.focus()
        await user.until(lambda: user.screen.prompt.has_focus)
        await user.press("escape")
        await user.until(lambda: not user.screen.query_one(FindBar).display, "the bar is still open")
        assert user.screen.prompt.has_focus
