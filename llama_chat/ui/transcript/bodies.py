"""The text of an entry as lines: Markdown for what a model wrote, letter by letter for what a user typed."""

from __future__ import annotations

from typing import Protocol

from textual.content import Content

from llama_chat.sanitize import sanitize
from llama_chat.ui.markdown.line import Line, wrap

TAB_SIZE = 4


class Body(Protocol):
    """Lines of a text that may grow. `thinking.ReplyBody` is the other one."""

    @property
    def lines(self) -> list[Line]:
        """As they are drawn now; for reading only."""
        ...

    @property
    def tail_length(self) -> int:
        """How many characters the next `append` will work on again."""
        ...

    def append(self, text: str) -> int:
        """The index of the first line that has changed, after this text was added."""
        ...

    def finish(self) -> int:
        """The index of the first line that has changed, now that no more is expected."""
        ...


class PlainBody:
    """Text as it was typed: nothing is parsed, every space and line break is kept."""

    def __init__(self, width: int, style: str = "") -> None:
        self._lines: list[Line] = []
        self._width = width
        self._style = style
        self._text = ""

    @property
    def lines(self) -> list[Line]:
        """As they are drawn now."""
        return self._lines

    @property
    def tail_length(self) -> int:
        """All of it: such a text arrives whole."""
        return len(self._text)

    def append(self, text: str) -> int:
        """0, after all lines were made again."""
        self._text += text
        shown = sanitize(self._text).expandtabs(TAB_SIZE).rstrip("\n")
        self._lines = wrap(Content.styled(shown, self._style), self._width) if shown else []
        return 0

    def finish(self) -> int:
        """How many lines there are: none has changed."""
        return len(self.lines)


def estimate_lines(text: str, width: int) -> int:
    """About how many lines a text takes, without parsing it."""
    return text.count("\n") + len(text) // width + 1
