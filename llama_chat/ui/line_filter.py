"""The second line of defence: what every widget draws passes through here on its way to the terminal."""

from __future__ import annotations

import re
from functools import lru_cache

from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from llama_chat.sanitize import UNSAFE

_UNSAFE_IN_LINE = re.compile(f"{UNSAFE.pattern}|[\t\n]")


class SafeLineFilter(LineFilter):
    """Takes out what `sanitize` should have made visible, and OSC 8 links, which no text may bring along.

    Make one and return it from `App.get_line_filters()` every time: Textual caches by the filter.
    The width of a line stays: what takes no cells is deleted, the rest becomes U+FFFD.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  (Textual's)
        """The segments, of which nothing can command the terminal."""
        if all(_is_harmless(segment) for segment in segments):
            return segments
        return [Segment(_clean(text), _unlinked(style), control) for text, style, control in segments]


def _is_harmless(segment: Segment) -> bool:
    style = segment.style
    return _is_clean(segment.text) and (style is None or style.link is None)


def _is_clean(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not _has_unseen(text))


@lru_cache(maxsize=4096)
def _has_unseen(text: str) -> bool:
    """Whether something in it is unsafe that Python calls printable: fillers, selectors (U+3164, U+FE00 ...).

    To look takes 6 µs for a line of the screen; most lines were drawn before (2026-11-22).
    """
    return UNSAFE.search(text) is not None


def _clean(text: str) -> str:
    if _is_clean(text):
        return text
    # Again and again: a joiner may stand before a letter only now that what was between them is gone.
    while (cleaned := _UNSAFE_IN_LINE.sub(_stand_in, text)) != text:
        text = cleaned
    return text


@lru_cache(maxsize=256)
def _unlinked(style: Style | None) -> Style | None:
    return style.update_link(None) if style is not None and style.link is not None else style


def _stand_in(match: re.Match[str]) -> str:
    return "\ufffd" * get_character_cell_size(match[0])
