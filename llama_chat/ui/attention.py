"""Tells a user who has gone elsewhere that a long reply has ended: a bell, or a note on the desktop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from llama_chat.chat.live import Status
from llama_chat.sanitize import one_line

LONG_REPLY_S = 10.0
"""A shorter reply is waited for."""
TEXT_LETTERS = 120

BELL = "\x07"
_END = "\x1b\\"
_MULTIPLEXERS = ("screen", "tmux")
_NOTE_PROGRAMS = ("iTerm.app", "WezTerm", "ghostty")
_NOTE_TERMS = ("xterm-kitty", "xterm-ghostty", "wezterm")
_TITLED_NOTE_TERMS = ("foot", "rxvt-unicode")


def desktop_note(text: str, environment: Mapping[str, str]) -> str:
    """The bytes that show the text on the desktop: OSC 9 or OSC 777, by what the terminal says of itself.

    A terminal that knows neither, or may not, gets the bell, and so does a multiplexer: it would swallow
    the note, but marks the window in which a bell rang.
    """
    term = environment.get("TERM", "")
    note = one_line(text)[:TEXT_LETTERS]
    if "TMUX" in environment or "STY" in environment or term.startswith(_MULTIPLEXERS):
        return BELL
    if environment.get("TERM_PROGRAM") in _NOTE_PROGRAMS or term.startswith(_NOTE_TERMS):
        return f"\x1b]9;{note}{_END}"
    titled = f"\x1b]777;notify;llama-chat;{note.replace(';', ',')}{_END}"
    if term.startswith(_TITLED_NOTE_TERMS):
        return titled
    if "VTE_VERSION" in environment:  # only some builds know it; the others pass it over in silence
        return titled + BELL
    return BELL


class Attention:
    """Follows the status of the chat; when a long reply ends while nobody looks, writes to the terminal.

    Args:
        write: puts bytes on the terminal, beside the screen.
        is_looked_at: whether the terminal has the focus, as far as it tells.
        environment: in which the terminal says what it is.
    """

    def __init__(
        self, write: Callable[[str], None], is_looked_at: Callable[[], bool], environment: Mapping[str, str]
    ) -> None:
        self.kind = "off"
        """`off`, `bell` or `desktop`."""
        self._write = write
        self._is_looked_at = is_looked_at
        self._environment = environment
        self._began_s: float | None = None

    def follow(self, status: Status, model_name: str) -> None:
        """Take in what the chat is at now."""
        now_s = time.monotonic()
        if status.is_replying:
            if self._began_s is None:
                self._began_s = now_s
            return
        began_s, self._began_s = self._began_s, None
        if began_s is not None and now_s - began_s >= LONG_REPLY_S and not self._is_looked_at():
            self._tell(f"{model_name} has answered after {now_s - began_s:.0f} s.")

    def _tell(self, text: str) -> None:
        if self.kind == "bell":
            self._write(BELL)
        elif self.kind == "desktop":
            self._write(desktop_note(text, self._environment))
