"""One line as it is drawn, and how a long text becomes lines."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from rich.cells import cell_len, chop_cells
from textual.content import Content

EMPTY = Content("")


class Line(NamedTuple):
    """One drawn line. Spans of its contents hold the style names of `ui.palette`."""

    content: Content
    prefix: Content = EMPTY
    """Drawn before the content and not copied: the bar of a quote, the edge of a code block."""
    fill: str = ""
    """Style name of the whole row, to its right end; empty for none."""
    joint: str | None = None
    """What stood between the line above and this one, where only the width parted them; None: a new line."""
    action: str = ""
    """What a click on it does, as the transcript knows it; empty: nothing."""

    @property
    def plain(self) -> str:
        """The characters as they are drawn."""
        return self.prefix.plain + self.content.plain


_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
    "\U00020000-\U0003fffd"
)
_CLOSING = "、。，．！？：；」』）】》"
_BREAKABLE_SPACE = " \t"


def wrap(content: Content, width: int, *, fill: str = "") -> list[Line]:
    """The lines of a text that is at most `width` cells wide, at least one; its newlines are kept."""
    lines: list[Line] = []
    for source in content.split("\n", allow_blank=True):
        lines.extend(_wrap_line(source, max(1, width), fill))
    return lines or [Line(EMPTY, fill=fill)]


def fold(content: Content, width: int, *, fill: str = "") -> list[Line]:
    """The lines of one line of code: cut at the width, with every space kept."""
    if len(content) <= width and content.plain.isascii():
        return [Line(content, fill=fill)]
    offsets: list[int] = []
    position = 0
    for piece in _chop(content.plain, max(1, width))[:-1]:
        position += len(piece)
        offsets.append(position)
    pieces = content.divide(offsets) if offsets else [content]
    return [Line(piece, fill=fill, joint="" if number else None) for number, piece in enumerate(pieces)]


def _wrap_line(content: Content, width: int, fill: str) -> list[Line]:
    text = content.plain
    is_ascii = text.isascii()
    if len(text) <= width and (is_ascii or cell_len(text) <= width):
        return [Line(_strip_end(content), fill=fill)]
    offsets = _ascii_break_offsets(text, width) if is_ascii else _break_offsets(text, width)
    lines: list[Line] = []
    joint: str | None = None
    for piece in content.divide(offsets) if offsets else [content]:
        bare = _strip_end(piece)
        lines.append(Line(bare, fill=fill, joint=joint))
        joint = piece.plain[len(bare) :]
    return lines


def _strip_end(content: Content) -> Content:
    return content.rstrip(_BREAKABLE_SPACE) if content.plain[-1:] in (" ", "\t") else content


def _ascii_break_offsets(text: str, width: int) -> list[int]:
    """As `_break_offsets`, where every character is one cell: ten times as fast."""
    offsets: list[int] = []
    start = 0
    while len(text) - start > width:
        end = text.rfind(" ", start, start + width + 1)
        if end < 0 or text[start:end].isspace() or end == start:
            start += width
        else:
            start = end + 1
            while text.startswith(" ", start):
                start += 1
        if start < len(text):
            offsets.append(start)
    return offsets


@cache
def _unit() -> re.Pattern[str]:
    """A line may break at spaces, and between the characters of scripts that are written without spaces.

    Compiled when the first text is wrapped: it takes 5 ms (2026-11-22).
    """
    return re.compile(f"[ \t\xa0]+|[{_WIDE}][{_CLOSING}]*|[^ \t\xa0{_WIDE}]+")


def _break_offsets(text: str, width: int) -> list[int]:
    offsets: list[int] = []
    used = 0
    for match in _unit().finditer(text):
        unit = match[0]
        cells = len(unit) if unit.isascii() else cell_len(unit)
        if used + cells <= width or (used and unit.isspace()):
            used += cells
            continue
        start = match.start()
        if used and start:
            offsets.append(start)
        *full, last = _chop(unit, width)
        for piece in full:
            start += len(piece)
            offsets.append(start)
        used = cell_len(last)
    return offsets


def _chop(text: str, width: int) -> list[str]:
    """The text in pieces of at most `width` cells; a character wider than that stands alone."""
    pieces = chop_cells(text, width)
    rest = len(text) - sum(map(len, pieces))
    if rest:  # chop_cells leaves out a last piece that is no cells wide
        pieces = [*pieces[:-1], pieces[-1] + text[-rest:]] if pieces else [text]
    return [piece for piece in pieces if piece] or [text]
