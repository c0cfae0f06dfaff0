"""The tree screen: every branch in view, gone through, searched, shown, cut."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_engine import INFO, FakeEngine
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat
from test_chat_branches import chooses, talk
from test_chat_tree import says

from llama_chat.conversation import Conversation, Reply, Role
from llama_chat.events import Sampling
from llama_chat.sessions import SessionStore
from llama_chat.ui.screens.tree import TreeScreen
from llama_chat.ui.widgets.tree_lines import TreeLines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def open_tree(user: User, key: str = "alt+t") -> None:
    await user.press(key)
    await user.until(lambda: isinstance(user.app.screen, TreeScreen), "no tree")
    await user.until(lambda: lines(user).size.height > 0)


def lines(user: User) -> TreeLines:
    return user.app.screen.query_one(TreeLines)


async def cursor_is_on(user: User, text: str) -> None:
    messages = user.screen.chat.conversation.messages

    def under_cursor() -> str:
        return messages[lines(user).cursor_id or ""].text

    await user.until(lambda: under_cursor() == text, f"the cursor is not on {text!r}")


async def forked(user: User) -> None:
    """`first` with the replies `one` and, on the path, `two`, where `second` was answered by `three`."""
    await talk(user, "first")
    await user.press("ctrl+r")
    await user.until(lambda: user.said[-1] == ("assistant", "two"), str(user.said))
    await user.idle()
    await talk(user, "second")


@pytest.mark.parametrize("size", [NARROW, WIDE, SMALL])
async def test_all_branches_are_seen_and_one_is_shown(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three"])), size) as user:
        await user.press("alt+t")
        await says(user, "There is nothing in the tree yet.")
        await forked(user)
        await open_tree(user)
        await user.sees("5 messages · 2 branches", "├─○ model  one", "● model  two", "● you    second")
        await cursor_is_on(user, "three")
        await user.press("up", "up")
        await cursor_is_on(user, "two")
        await user.press("left")
        await cursor_is_on(user, "one")
        await user.press("left", "right", "h")
        await cursor_is_on(user, "one")
        await user.press("enter")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "one")], str(user.said))
        await chooses(user, "one")
        await user.press("alt+z")
        await user.until(lambda: len(user.said) == 4, str(user.said))


async def test_words_are_found_and_the_preview_shows_the_message(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["The [/b] Fox", "two", "three"])), WIDE) as user:
        await forked(user)
        await open_tree(user)
        await user.press("slash", *"fox")
        await cursor_is_on(user, "The [/b] Fox")
        await user.sees("○ model  The [/b] Fox", "1 of 2")
        assert "second" not in user.seen.replace("seconds", "")
        await user.press("escape")
        await user.sees("├─○ model  The [/b] Fox", "● you    second")
        await cursor_is_on(user, "The [/b] Fox")
        await user.press("escape")
        await user.until(lambda: user.app.screen is user.screen)


async def test_the_path_ends_before_a_message_of_the_tree(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three"]))) as user:
        await forked(user)
        await open_tree(user)
        await user.press("up")
        await cursor_is_on(user, "second")
        await user.press("d")
        await user.until(lambda: user.said == [("user", "first"), ("assistant", "two")], str(user.said))
        await says(user, "2 messages are off the path.")
        await open_tree(user)
        await user.press("left")
        await cursor_is_on(user, "one")
        await user.press("d")
        await says(user, "not on the path")
        assert len(user.said) == 2


async def test_a_click_moves_the_cursor_and_another_shows_the_branch(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["one", "two", "three"]))) as user:
        await forked(user)
        await user.say("/tree")
        await user.until(lambda: isinstance(user.app.screen, TreeScreen), "no tree")
        await user.sees("├─○ model  one")
        row = next(n for n, line in enumerate(user.seen.split("\n")) if "├─○ model  one" in line)
        await user.pilot.click(offset=(20, row))
        await cursor_is_on(user, "one")
        await user.pilot.click(offset=(20, row))
        await user.until(lambda: user.said[-1] == ("assistant", "one"), str(user.said))


@pytest.mark.alone
async def test_a_large_tree_opens_at_once(home: Home) -> None:
    store = SessionStore(home.paths.sessions_file)
    store.open()
    info = store.create(title="Large", model=INFO.name, date="2026-11-20")
    large = Conversation()
    for n in range(850):
        words = large.append(Role.USER, f"question {n}")
        for m in range(2 if n % 3 == 0 else 1):
            large.leaf_id = words.id
            large.append(
                Role.ASSISTANT, f"answer {n} {m}", reply=Reply(7, Sampling(), INFO.name, (100,), "end")
            )
    store.add_messages(info.id, list(large.messages.values()), large.leaf_id)
    store.close()
    async with chat(home.setup(continue_last=True)) as user:
        await user.idle()
        await user.sees("answer 849 1")
        await user.press("alt+t")
        await user.sees("1,984 messages · 285 branches", "├─○ model  answer 849 0")
        started = time.thread_time()  # of the processor: the machine may be busy
        screen = TreeScreen(large, None)
        lines(user).show_rows(screen._rows, None)
        [lines(user).render_line(y) for y in range(lines(user).size.height)]
        assert time.thread_time() - started < 0.1
