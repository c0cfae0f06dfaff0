"""What is drawn: rows, each a line with an accent bar or without."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content

from llama_chat.ui.markdown.line import EMPTY, Line

MAX_COLUMN = 100
BAR = "▍ "


class Row(NamedTuple):
    """One row of the transcript."""

    line: Line
    bar: str = ""
    """Style name of the accent bar at its left; empty for none."""


BLANK_ROW = Row(Line(EMPTY))


class Column(NamedTuple):
    """The place of the text in the width of the view: at most 100 columns, in the middle."""

    view_width: int
    left: int
    """Cells left of the accent bars."""
    text_width: int
    """Cells for the text, right of the bars."""

    @classmethod
    def within(cls, view_width: int) -> Column:
        """The column of a view of this width."""
        column = min(MAX_COLUMN, max(view_width - 2, len(BAR) + 1))
        return cls(view_width, max(0, view_width - column) // 2, column - len(BAR))


def spread(left: Content, right: Content, width: int) -> Content:
    """Both in one line, at its two ends; without the right one where there is no room for it."""
    if left.cell_length > width:
        return left.truncate(width, ellipsis=True)
    space = width - left.cell_length - right.cell_length
    return left + Content(" " * space) + right if right and space >= 2 else left
