"""A code block whose end has not arrived: its lines are drawn one by one, as they are completed."""

from __future__ import annotations

import re

from llama_chat.markup.parser import Node
from llama_chat.ui.markdown.code import (
    MAX_LINES,
    code_lines,
    head_lines,
    highlight,
    highlight_open,
    split_code,
)
from llama_chat.ui.markdown.line import Line

MAX_CONTEXT_LINES = 60
"""After so many lines an open string is given up; the close of the fence colours it as it should be."""


class OpenFence:
    """Takes the text after the opening line. Its source is kept, to be parsed as a whole at the end.

    New lines are highlighted alone, but for those inside of a string or comment: each costs 0.3 ms, where
    all of a fence takes 9 ms per 100 lines (Python, 2025-11).
    """

    def __init__(self, opening: str, node: Node, width: int) -> None:
        self._width = width
        self._info = node.token.info.strip()
        self._character = node.token.markup[0]
        self._indent = len(opening) - len(opening.lstrip(" "))
        self._closing = re.compile(f" {{0,3}}{re.escape(self._character)}{{{len(node.token.markup)},}}[ \t]*")
        self._source = [opening + "\n"]
        self._line = ""
        self._line_count = 0
        self._context: list[str] = []
        """The lines from the beginning of a string or comment that is open; mostly none."""

    @property
    def source(self) -> str:
        """All of it, from the opening line on."""
        return "".join(self._source) + self._line

    def head(self) -> list[Line]:
        """The lines above the code."""
        return head_lines(self._info, self._width)

    def take(self, text: str) -> tuple[list[Line], str | None]:
        """The lines that were completed; and, when the fence has ended, the text after it, else None."""
        new: list[str] = []
        rest: str | None = None
        *complete, self._line = (self._line + text).split("\n")
        for number, line in enumerate(complete):
            self._source.append(line + "\n")
            if self._closing.fullmatch(line):
                rest = "\n".join([*complete[number + 1 :], self._line])
                self._line = ""
                break
            new.append(self._drawn(line))
        return ([] if rest is not None else self._code_lines(new)), rest

    def unfinished(self) -> list[Line]:
        """The lines of the last, incomplete line of code; none while it may become the closing fence."""
        line = self._drawn(self._line)
        may_close = line.strip() and not line.strip().strip(self._character)
        if may_close or (self._line_count and not line):
            return []
        (content,) = highlight([line], "")
        return code_lines(content, self._width)

    def _code_lines(self, new: list[str]) -> list[Line]:
        if not new:
            return []
        self._line_count += len(new)
        source = self._context + new
        contents, goes_on = highlight_open(source, self._info if self._line_count <= MAX_LINES else "")
        known = len(self._context)
        self._context = source if goes_on and len(source) <= MAX_CONTEXT_LINES else []
        return [line for content in contents[known:] for line in code_lines(content, self._width)]

    def _drawn(self, line: str) -> str:
        """The line without the indentation that the fence itself has."""
        spaces = len(line) - len(line.lstrip(" "))
        return split_code(line[min(spaces, self._indent) :])[0]
