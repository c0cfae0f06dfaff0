"""Untrusted text made safe for a terminal: what would command it, reorder it or hide in it becomes visible.

Models, files, servers, pastes and users write this text. It is stored as it came and passes through here
on its way to a screen. Characters are judged alone, but for CR LF and a joiner before a Latin letter: text
that arrives in pieces must not be cut there (`complete_length`).
"""

from __future__ import annotations

import re

# Ordinary joiners stay: ZWNJ and ZWJ (U+200C, U+200D; Persian, Indic scripts, emoji families) and the text
# and emoji selectors (U+FE0E, U+FE0F). So do the visible number signs of category Cf (U+0600 to U+0605 ...).
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_LINE_BREAKS = r"\u2028\u2029"
_REORDERING = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_INVISIBLE = (
    r"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0d"
    r"\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff"
)
_NOT_CHARACTERS = r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
# A joiner before a Latin, Greek, Cyrillic or Armenian character joins nothing; rich measures the character
# after it as no cells wide (rich 15.0, 2026-11), so a line of them would run out of its column.
_IDLE_JOINER = "\u200d(?=[ -\u058f])"

UNSAFE = re.compile(f"[{_CONTROLS}{_LINE_BREAKS}{_REORDERING}{_INVISIBLE}{_NOT_CHARACTERS}]|{_IDLE_JOINER}")
"""One character that must not reach a terminal."""

_DELETE_PICTURE = "\u2421"
_NEWLINE_PICTURE = "\u2424"
_REPLACEMENT = "\ufffd"


def sanitize(text: str) -> str:
    """The text with every unsafe character shown as a control picture (U+2400 ...) or as U+FFFD.

    Newline and tab stay, and no line break is added; CR LF becomes a newline. The result is safe in the
    sense of `is_safe`, and sanitising it again changes nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    return UNSAFE.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The text safe and in one line, with single spaces for every run of blanks and line breaks."""
    return " ".join(sanitize(text).split())


def complete_length(text: str) -> int:
    """How many characters of an unfinished text can be sanitised already: a last CR or joiner must wait."""
    return len(text) - 1 if text.endswith(("\r", "\u200d")) else len(text)


def is_safe(text: str) -> bool:
    """Whether nothing in the text could command, reorder or hide something on a terminal."""
    return UNSAFE.search(text) is None


def _picture(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return _DELETE_PICTURE
    if character in "\x85\u2028\u2029":
        return _NEWLINE_PICTURE
    return _REPLACEMENT
