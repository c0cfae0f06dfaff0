"""What happens while nobody looks, what moves, and themes that are saved while the chat runs."""

from __future__ import annotations

import os
import sys

import pytest
from fake_engine import FakeEngine
from test_chat_app import WIDE, Home, chat, home  # noqa: F401  (the fixture)
from textual import events
from textual.color import Color

from llama_chat.settings import ChatSettings
from llama_chat.ui import app as app_module
from llama_chat.ui import attention
from llama_chat.ui.attention import BELL, desktop_note
from llama_chat.ui.safe_app import SafeApp

THEME = 'name = "mine"\ndark = true\nprimary = "{}"\nbackground = "#000000"\nforeground = "#ffffff"\n'


# --- the note --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"TERM_PROGRAM": "WezTerm"}, "9"),
        ({"TERM": "xterm-kitty"}, "9"),
        ({"TERM": "foot"}, "777"),
        ({"TERM": "rxvt-unicode-256color"}, "777"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, "777+bell"),
        ({"TERM": "xterm-256color"}, "bell"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, "bell"),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "WezTerm"}, "bell"),
    ],
)
def test_the_note_is_what_the_terminal_knows(environment: dict[str, str], kind: str) -> None:
    note = desktop_note("x has answered", environment)
    whole = {
        "9": "\x1b]9;x has answered\x1b\\",
        "777": "\x1b]777;notify;llama-chat;x has answered\x1b\\",
        "777+bell": "\x1b]777;notify;llama-chat;x has answered\x1b\\" + BELL,
        "bell": BELL,
    }
    assert note == whole[kind]


def test_no_name_of_a_model_gets_out_of_the_note() -> None:
    for environment in ({"TERM": "xterm-kitty"}, {"TERM": "foot"}):
        note = desktop_note("a\x1b\\\x9c\x07\n;b;" + "c" * 999, environment)
        body = note.removesuffix("\x1b\\")[2:]
        assert body.isprintable()
        assert len(body) < 200


async def test_who_has_gone_is_told_of_a_long_reply_and_nobody_else(
    home: Home,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    monkeypatch.setattr(SafeApp, "write_to_terminal", lambda self, sequence: written.append(sequence))
    monkeypatch.setattr(attention, "LONG_REPLY_S", 0.0)
    engine = FakeEngine(["One.", "Two.", "Three.", "Four."])
    async with chat(home.setup(engine, chat=ChatSettings(notify="bell"))) as user:
        await user.say("a")
        await user.sees("One.")
        await user.idle()
        assert written == [], "somebody looks"
        user.app.post_message(events.AppBlur())
        await user.until(lambda: not user.app.app_focus)
        user.screen.chat.send("b")
        await user.sees("Two.")
        await user.idle()
        assert written == [BELL]
        monkeypatch.setattr(attention, "LONG_REPLY_S", 10.0)
        user.screen.chat.send("c")
        await user.sees("Three.")
        await user.idle()
        assert written == [BELL], "that was quick"
        monkeypatch.setattr(attention, "LONG_REPLY_S", 0.0)
        user.app.post_message(events.AppFocus())
        await user.until(lambda: user.app.app_focus)
        user.screen.chat.send("d")
        await user.sees("Four.")
        await user.idle()
        assert written == [BELL]


@pytest.mark.skipif(sys.platform == "win32", reason="another driver")
def test_the_terminal_is_asked_for_its_focus_and_understood() -> None:
    from llama_chat.ui.safe_parser import SafeParser

    read = [type(event) for event in SafeParser().feed("\x1b[O\x1b[I")]
    assert read == [events.AppBlur, events.AppFocus]


# --- motion ----------------------------------------------------------------------------------------------


async def test_with_reduced_motion_nothing_glides_or_blinks(home: Home) -> None:  # noqa: F811
    async with chat(home.setup(chat=ChatSettings(reduced_motion=True))) as user:
        await user.ready()
        assert user.app.animation_level == "none"
        await user.until(lambda: not user.screen.prompt.cursor_blink)
        await user.press("ctrl+p")
        await user.until(lambda: user.app.focused is not None and user.app.focused is not user.screen.prompt)
        await user.until(lambda: user.app.focused.cursor_blink is False)
    async with chat(home.setup()) as user:
        await user.ready()
        assert user.app.animation_level != "none"
        assert user.screen.prompt.cursor_blink


# --- themes ----------------------------------------------------------------------------------------------


async def test_a_theme_that_is_saved_is_shown_and_a_broken_one_is_told(
    home: Home,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_module, "THEME_LOOK_S", 0.05)
    home.paths.user_themes.mkdir(parents=True)
    path = home.paths.user_themes / "mine.toml"
    path.write_text(THEME.format("#112233"))
    async with chat(home.setup(chat=ChatSettings(theme="mine")), WIDE) as user:
        await user.ready()
        await user.until(lambda: hasattr(user.app, "_theme_watch"))

        def primary() -> Color:
            return Color.parse(user.app.theme_variables["primary"])

        assert primary() == Color.parse("#112233")
        path.write_text(THEME.format("#a1b2c3") + "# saved\n")
        await user.until(lambda: primary() == Color.parse("#a1b2c3"), "the saved theme is not shown")
        path.write_text(THEME.format("no colour"))
        await user.sees("themes/mine.toml: 'primary' is no colour: 'no colour'. The theme stays as it was.")
        assert primary() == Color.parse("#a1b2c3")
        (home.paths.user_themes / "other.toml").write_text(THEME.format("#445566").replace("mine", "other"))
        await user.until(lambda: "other" in user.app.available_themes)
        assert user.app.theme == "mine"
        os.unlink(path)  # noqa: PTH108  (a file that goes is no error)
        await user.say("/theme other")
        await user.until(lambda: user.app.theme == "other")


async def test_no_colour_where_none_is_wanted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("NO_COLOR", "1")
    for theme in ("midnight", "blossom", "ansi"):
        async with chat(home.setup(chat=ChatSettings(theme=theme))) as user:
            await user.say("hello")
            await user.sees("Two words.")
            await user.idle()
            for strip in user.app.screen._compositor.render_strips():
                for segment in strip.apply_filter(user.app.get_line_filters()[0], Color(0, 0, 0)):
                    colours = (segment.style.color, segment.style.bgcolor) if segment.style else ()
                    assert all(colour is None or colour.is_default for colour in colours)
