"""The keys of a shell in a prompt whose line wraps, and how the prompt is emptied."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import Home, User, chat
from test_chat_tree import says

LONG = "one two three four five six seven eight nine ten " * 5


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def holds(user: User, text: str) -> None:
    await user.until(lambda: user.screen.prompt.text == text, f"not {text!r}")


async def test_the_keys_of_a_shell_act_on_the_whole_line_that_wraps(home: Home) -> None:
    async with chat(home.setup()) as user:
        prompt = user.screen.prompt
        for keys, rest in (
            (("ctrl+u",), "first\n\nlast"),
            (("ctrl+a", "ctrl+k"), "first\n\nlast"),
            (("ctrl+a", "right", "ctrl+k"), f"first\n{LONG[0]}\nlast"),
            (("ctrl+a", "ctrl+u"), f"first{LONG}\nlast"),
            (("ctrl+k",), f"first\n{LONG}last"),
            (("ctrl+u", "ctrl+k"), "first\nlast"),
            (("ctrl+a", "ctrl+e", "ctrl+u"), "first\n\nlast"),
        ):
            prompt.load_text(f"first\n{LONG}\nlast")
            prompt.move_cursor((1, len(LONG)))
            await user.press(*keys)
            await holds(user, rest)
        await user.press("ctrl+underscore")
        await holds(user, f"first\n{LONG}\nlast")


async def test_esc_twice_and_ctrl_c_empty_the_prompt_and_undo_brings_it_back(home: Home) -> None:
    async with chat(home.setup()) as user:
        await user.ready()
        prompt = user.screen.prompt
        prompt.insert(LONG + "\nsecond")
        await user.press("escape")
        await says(user, "Esc again empties the prompt.")
        await holds(user, LONG + "\nsecond")
        await user.press("escape")
        await says(user, "Ctrl+_ brings the words back.")
        await holds(user, "")
        await user.press("ctrl+underscore")
        await holds(user, LONG + "\nsecond")
        await user.press("ctrl+c")
        await says(user, "Ctrl+_ brings the words back. Ctrl+C again quits.")
        await holds(user, "")
        await user.press("ctrl+underscore")
        await holds(user, LONG + "\nsecond")
        assert user.app.is_running


async def test_what_stops_a_reply_leaves_the_draft_alone(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        for key in ("escape", "ctrl+c"):
            await user.say("count")
            pace.step(1)
            await user.until(lambda: user.screen.chat.is_replying)
            user.screen.prompt.insert("a draft")
            await user.press(key)
            await user.idle()
            await holds(user, "a draft")
            user.screen.prompt.clear_all()
