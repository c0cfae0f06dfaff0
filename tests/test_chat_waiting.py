"""What is wanted while a reply runs waits for its end; nothing of it is lost, nor what is not kept yet."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Pace
from test_chat_app import SMALL, WIDE, Home, chat

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.conversation import Role
from llama_chat.markup.thoughts import runs_of


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_system_prompts_before_the_first_words_are_all_kept(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["hello"]))) as user:
        await user.idle()
        for text in ("Be brief.", "Be kind."):
            user.screen.chat.set_system(text)
        await user.press("alt+z")
        await user.until(lambda: user.screen.chat.conversation.system == "Be brief.")
        await user.say("hi")
        await user.sees("hello")
        await user.idle()
        await user.until(lambda: user.screen.chat.status.is_saved)
    (stored,) = home.stored()
    assert [message.text for message in stored.path()] == ["Be brief.", "hi", "hello"]
    assert {m.text for m in stored.messages.values() if m.role is Role.SYSTEM} == {"Be brief.", "Be kind."}


async def test_other_words_are_not_lost_by_a_new_chat(home: Home) -> None:
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None, "short"], pace=pace))) as user:
        await user.say("first")
        pace.step(2)
        await user.sees("word1")
        told = user.screen.chat
        told.edit(told.last_words().id, "second")  # type: ignore[union-attr]  # it was said just now
        told.new()
        await user.until(lambda: not user.screen.chat.has_words)
        await user.idle()
        kept = {m.text for conversation in home.stored() for m in conversation.messages.values()}
        assert "second" in kept | {user.screen.prompt.full_text}


def test_a_job_that_nobody_waits_for_any_more_is_done_and_the_thread_goes_on() -> None:
    thread, gate, done = OwnThread("test"), threading.Event(), []
    first = thread.do(gate.wait)
    second = thread.do(lambda: done.append("second"))
    assert not second.cancel()
    gate.set()
    thread.do(lambda: done.append("third")).result(5)
    assert first.result(5)
    assert done == ["second", "third"]
    assert thread.close(5)


def test_a_line_of_blanks_is_looked_at_once() -> None:
    assert runs_of("<think>" + " " * 200_000 + "</think>yes") == [(True, " " * 200_000), (False, "yes")]


# --- where the keyboard is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [("ctrl+o",), ("alt+up",)])
async def test_letters_that_mean_nothing_there_go_to_the_prompt(home: Home, keys: tuple[str, ...]) -> None:
    async with chat(home.setup(FakeEngine(["hello"])), WIDE) as user:
        await user.say("hi")
        await user.sees("hello")
        await user.idle()
        await user.press(*keys)
        await user.until(lambda: not user.screen.prompt.has_focus)
        await user.press("w", "o", "r", "d")
        await user.until(lambda: user.screen.prompt.text == "word", user.screen.prompt.text)


async def test_a_slider_that_a_smaller_window_hides_gives_the_keyboard_back(home: Home) -> None:
    async with chat(home.setup(FakeEngine(["hello"])), WIDE) as user:
        await user.idle()
        await user.press("ctrl+o")
        await user.until(lambda: not user.screen.prompt.has_focus)
        await user.pilot.resize_terminal(*SMALL)
        await user.until(lambda: user.screen.prompt.has_focus)
        await user.press("h", "i")
        await user.until(lambda: user.screen.prompt.text == "hi")
