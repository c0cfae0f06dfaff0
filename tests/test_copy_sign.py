"""The sign above a code block: where it stands, what a click on it copies, how it looks under the mouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from test_chat_app import NARROW, Home, User, chat
from textual.strip import Strip

from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling
from llama_chat.ui.transcript.code_heads import SIGN
from llama_chat.ui.widgets.transcript import Transcript

FIRST = "def ask(river):\n\treturn 'why'  \x1b[1m\n\n" + "\n".join(f"x = {n}" for n in range(30))
ANSWER = f"One:\n\n```python\n{FIRST}\n```\n\n- two:\n\n  ~~~\n  echo two\n  ~~~\n\nand\n\n    three\n"
THOUGHT = f"<think>\n```c\nint x;\n```\n</think>\n\n{ANSWER}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def signs(user: User) -> list[tuple[int, int, str]]:
    """Column and line of every sign that is seen, and its line."""
    lines = user.seen.split("\n")
    return [(line.index(SIGN), y, line) for y, line in enumerate(lines) if SIGN in line]


async def click_sign(user: User, number: int) -> None:
    x, y, _ = signs(user)[number]
    await user.pilot.click(offset=(x + 2, y))


async def copied(user: User, text: str, words: str) -> None:
    await user.until(lambda: user.app.clipboard == text, "it was not copied")
    await user.until(lambda: words in user.screen._hint_line.text, f"{words!r} was not said")


@pytest.mark.parametrize("size", [NARROW, (40, 20)])
async def test_a_click_copies_the_block_as_it_was_written(home: Home, size: tuple[int, int]) -> None:
    async with chat(home.setup(FakeEngine([THOUGHT])), size) as user:
        await user.say("code")
        await user.idle()
        await user.sees("2 · copy ⧉", "3 · copy ⧉")
        await click_sign(user, 0)
        await copied(user, "echo two", "Code block 2")
        await click_sign(user, 1)
        await copied(user, "three", "Code block 3")
        assert user.screen.prompt.has_focus
        user.screen.transcript.scroll_to(y=4)  # the end of the first block is out of view
        await user.sees("python", "1 · copy ⧉")
        assert "echo two" not in user.seen
        await click_sign(user, 0)
        await copied(user, FIRST, "Code block 1")
        await user.press("alt+m")
        user.screen.transcript.scroll_to(y=0)
        await user.until(lambda: "int x;" in user.seen and signs(user), "the thought is folded")
        await click_sign(user, 0)
        await copied(user, "int x;", "Code of a thought")


async def test_a_click_beside_the_sign_and_a_drag_copy_nothing(home: Home) -> None:
    async with chat(home.setup(FakeEngine([ANSWER])), NARROW) as user:
        await user.say("code")
        await user.idle()
        await user.sees("2 · copy ⧉")
        x, y, _ = signs(user)[0]
        await user.pilot.click(offset=(x - 20, y))
        await user.pilot.mouse_down(offset=(x - 20, y))
        await user.pilot.hover(offset=(x + 2, y))
        await user.pilot.mouse_up(offset=(x + 2, y))
        await user.pilot.pause()
        assert user.app.clipboard == ""


@pytest.mark.parametrize("theme", ["ember", "ansi"])
async def test_the_sign_under_the_mouse_is_lit_up_and_no_other(home: Home, theme: str) -> None:
    async with chat(home.setup(FakeEngine([ANSWER])), NARROW) as user:
        user.app.theme = theme
        await user.say("code")
        await user.idle()
        await user.until(lambda: len(signs(user)) == 2, "no signs")
        view = user.screen.transcript

        def looks() -> list[Strip]:
            return [view.render_line(y - view.region.y) for _, y, _ in signs(user)]

        before = looks()
        x, y, _ = signs(user)[0]
        await user.pilot.hover(offset=(x + 2, y))
        await user.until(lambda: looks()[0] != before[0], "it looks as before")
        assert looks()[0].text == before[0].text
        assert looks()[1] == before[1]
        await user.pilot.hover(offset=(2, y + 1))
        await user.until(lambda: looks() == before, "it is still lit up")


def test_heads_stay_where_they_are_while_the_reply_grows() -> None:
    view = Transcript()
    view.add(Message("m", None, Role.ASSISTANT, "", 0.0, Reply(1, Sampling())))
    (entry,) = view._entries
    entry.resize(60)
    seen: list[tuple[int, str, int]] = []
    for letter in ANSWER:
        view._message("m").append(letter)
        view._message("m").draw_pending()
        now = [row.line.plain for row in entry.lay_out()]
        heads = [(n, line[-12:], len(line)) for n, line in enumerate(now) if SIGN in line]
        assert heads[: len(seen)] == seen
        seen = heads
    assert [head.split()[0] for _, head, _ in seen] == ["1", "2", "3"]
