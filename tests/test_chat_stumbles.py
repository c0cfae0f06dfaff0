"""What a newcomer stumbled over: steps that say what they were, siblings told apart, help in columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_chat_app import Home, chat
from test_chat_tree import says, store_reply

from llama_chat.chat.opening import read_session
from llama_chat.conversation import Message, Role
from llama_chat.sessions import SessionStore
from llama_chat.ui.screens.key_help import help_lines, help_rows
from llama_chat.ui.widgets.status_bar import StatusBar

LONG = "\n\n".join(f"line{n}" for n in range(60))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_there_is_no_step_to_undo_in_a_session_that_was_just_opened_at_another_branch(
    home: Home,
) -> None:
    session_id = store_reply(home, "end")
    store = SessionStore(home.paths.sessions_file)
    store.open()
    found = Message("found", None, Role.USER, "said elsewhere", 1_780_000_002.0)
    store.add_messages(session_id, [found], None)
    opened = read_session(store, store.find(session_id))
    store.close()
    opened.conversation.leaf_id = None  # all of it was taken off the path
    async with chat(home.setup()) as user:
        await user.ready()
        user.screen.chat.opening.expect()
        user.screen.chat.opening.open(opened, "found")
        await user.sees("said elsewhere")
        await user.press("alt+z")
        await says(user, "There is no step to undo.")
        assert "said elsewhere" in user.seen
    assert home.stored()[0].leaf_id == "found"


async def test_a_step_back_says_what_it_was(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one.", "two."]))) as user:
        await user.say("tell me about the fox")
        await user.idle()
        await user.press("ctrl+r")
        await user.sees("two.")
        await user.idle()
        await user.press("alt+z")
        await says(user, "Back: before another reply to “tell me about the fox”.")
        await user.press("alt+y")
        await says(user, "Forward: after another reply to “tell me about the fox”.")
        await user.press("alt+left")
        await user.sees("‹ 1/2 ›")
        await user.press("alt+z")
        await says(user, "Back: before the choice of another branch.")


async def test_a_sibling_is_shown_with_its_place(home: Home) -> None:
    async with chat(home.setup(FakeEngine([LONG, "short."]))) as user:
        await user.say("count")
        await user.sees("line59")
        await user.idle()
        await user.press("ctrl+r")
        await user.sees("short.", "‹ 2/2 ›")
        await user.idle()
        await user.press("alt+left")
        await user.sees("line0", "‹ 1/2 ›")


@pytest.mark.parametrize(("width", "has_bar"), [(80, False), (160, True)])
async def test_the_context_has_the_same_words_whatever_else_there_is_to_say(
    home: Home, width: int, has_bar: bool
) -> None:
    async with chat(home.setup(), (width, 24)) as user:
        await user.ready()
        bar = user.screen.query_one(StatusBar)
        for more in ({}, {"tok_per_s": 28.9}, {"is_replying": True, "doing": "reading the prompt"}):
            bar.status = replace(user.screen.chat.status, context_used=540, context_length=8192, **more)
            line = bar.render().plain
            assert "540 / 8,192" in line
            assert ("▕" in line) == has_bar


def test_two_columns_of_keys_hold_what_one_holds() -> None:
    width = 150
    one = [line.plain for line in help_lines((width - 4) // 2)]
    rows = help_rows(width)
    columns = [row.plain[: (width - 4) // 2 + 4].rstrip() for row in rows]
    columns += [""] + [row.plain[(width - 4) // 2 + 4 :] for row in rows]
    assert [line for line in columns if line] == [line.rstrip() for line in one if line]
    assert len(rows) < len(one) * 0.6
    assert max(row.cell_length for row in rows) <= width
