"""Lines that say as much as there is room for: whole sentences, or a shorter wording."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.widget import Widget

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


def cut(text: str, cells: int) -> str:
    """The text, with an ellipsis for its end where it takes more cells."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + "…" if cells > 0 else ""


def first_fitting(wordings: Sequence[str], cells: int) -> str:
    """The first wording that has room; the beginning of the last one where none has."""
    return next((words for words in wordings if cell_len(words) <= cells), cut(wordings[-1], cells))


def shorter_and_shorter(text: str) -> list[str]:
    """The whole text, then without its last sentence, and so on down to the first one."""
    sentences = _SENTENCE_END.split(" ".join(text.split()))
    return [" ".join(sentences[:count]) for count in range(len(sentences), 0, -1)]


class FittingLine(Widget):
    """One line: the first of several wordings that fits.

    Args:
        wordings: the longest first.
        classes: as Textual has them.
    """

    DEFAULT_CSS = """
    FittingLine { height: 1; }
    """

    def __init__(self, *wordings: str, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._wordings = wordings

    def say(self, *wordings: str) -> None:
        """Say something else."""
        if wordings != self._wordings:
            self._wordings = wordings
            self.refresh()

    def render(self) -> Content:
        """What there is room for."""
        return Content(first_fitting(self._wordings, self.content_size.width))
