"""What a model thinks before it answers: `<think>…</think>` in its text, told apart while it streams.

A tag opens a thought at the beginning of a line, and closes it wherever it stands; in a code fence tags are
text. Some templates open the thought in the prompt, so that a reply holds the closing tag only: then all
before it was one. The text itself stays as it is; only how it is shown depends on this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from itertools import groupby
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"
_MAX_INDENT = 3
"""Deeper, Markdown takes a line for code."""
_FENCE_START = re.compile(r"[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++[ \t>]*+)*+(`{3,}|~{3,})")
"""Possessive: a line of 4,000 blanks took 0.7 s, for each of its blanks could begin anew."""


class Kind(Enum):
    """What a piece of a reply is."""

    ANSWER = auto()
    THOUGHT = auto()
    OPENING = auto()
    """The tag that begins a thought."""
    CLOSING = auto()
    """The tag that ends it."""
    CLOSING_ALL = auto()
    """A tag that ends a thought which nothing has begun: all before it was one."""


class Piece(NamedTuple):
    """A part of the text; joined, the pieces are the text."""

    kind: Kind
    text: str


def runs_of(text: str) -> list[tuple[bool, str]]:
    """The text without the tags: whether it was thought, and what, in turn."""
    if OPEN not in text and CLOSE not in text:
        return [(False, text)]
    parser = ThoughtParser()
    runs: list[tuple[bool, str]] = []
    for kind, piece in [*parser.feed(text), *parser.finish()]:
        if kind is Kind.CLOSING_ALL:
            runs = [(True, "".join(said for _, said in runs))]
        elif kind in (Kind.ANSWER, Kind.THOUGHT):
            is_thought = kind is Kind.THOUGHT
            before = runs.pop()[1] if runs and runs[-1][0] is is_thought else ""
            runs.append((is_thought, before + piece))
    return runs


class ThoughtParser:
    """Gives the pieces of a text that may arrive cut at any place; joined, they are always the same."""

    def __init__(self) -> None:
        self.is_thinking = False
        self._has_thought = False
        self._held = ""
        self._line = ""
        """The line that is being read, as far as its beginning may open a fence."""
        self._is_line_start = True
        self._fence = ""

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now, no two of a kind in a row.

        What may still become a tag is held back.
        """
        pieces: list[Piece] = []
        for line in _lines(text):
            self._held += line
            while self._held and self._step(pieces):
                pass
        return _joined(pieces)

    def finish(self) -> list[Piece]:
        """What was held back: no more text comes."""
        held, self._held = self._held, ""
        return [Piece(self._kind, held)] if held else []

    @property
    def _kind(self) -> Kind:
        return Kind.THOUGHT if self.is_thinking else Kind.ANSWER

    def _step(self, pieces: list[Piece]) -> bool:
        """Take what can be taken of the current line; whether anything was."""
        line, newline, _ = self._held.partition("\n")
        if self._fence:
            found = None
        elif self.is_thinking:
            found = self._find_closing(line)
        else:
            found = self._find_opening(line)
        if found is not None:
            self._take_tag(pieces, *found)
            return True
        length = len(line) + len(newline)
        if not newline and not self._fence:
            length -= self._undecided(line)
        if length:
            self._take(pieces, length)
            if newline:
                self._end_line()
        return length > 0

    def _find_opening(self, line: str) -> tuple[int, str] | None:
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        if not self._is_line_start or indent > _MAX_INDENT:
            return None
        if bare.startswith(OPEN):
            return indent, OPEN
        return (indent, CLOSE) if bare.startswith(CLOSE) and not self._has_thought else None

    def _find_closing(self, line: str) -> tuple[int, str] | None:
        at = line.find(CLOSE)
        if at < 0 or _FENCE_START.match(self._line + line[:at]):
            return None
        return at, CLOSE

    def _undecided(self, line: str) -> int:
        """How many characters at the end of an unfinished line may be the beginning of a tag."""
        if self.is_thinking:
            return next((n for n in range(len(CLOSE) - 1, 0, -1) if line.endswith(CLOSE[:n])), 0)
        bare = line.lstrip(" ")
        is_open = self._is_line_start and len(line) - len(bare) <= _MAX_INDENT
        return len(line) if is_open and (OPEN.startswith(bare) or CLOSE.startswith(bare)) else 0

    def _take_tag(self, pieces: list[Piece], at: int, tag: str) -> None:
        if at:
            self._take(pieces, at)
        self._held = self._held[len(tag) :]
        closing = Kind.CLOSING if self.is_thinking else Kind.CLOSING_ALL
        pieces.append(Piece(Kind.OPENING if tag == OPEN else closing, tag))
        self.is_thinking = tag == OPEN
        self._has_thought = True
        self._line, self._is_line_start = "", True

    def _take(self, pieces: list[Piece], length: int) -> None:
        text, self._held = self._held[:length], self._held[length:]
        pieces.append(Piece(self._kind, text))
        self._is_line_start = False
        if not self._line or self._line.lstrip(" \t>-*+0123456789.)")[:1] in ("", "`", "~"):
            self._line += text

    def _end_line(self) -> None:
        line, self._line, self._is_line_start = self._line.rstrip("\r\n"), "", True
        if self._fence:
            bare = line.strip(" \t>")
            if bare.startswith(self._fence) and not bare.strip(self._fence[0]):
                self._fence = ""
        elif opening := _FENCE_START.match(line):
            is_inline = opening[1][0] == "`" and "`" in line[opening.end() :]
            self._fence = "" if is_inline else opening[1]


def _lines(text: str) -> Iterator[str]:
    """The text line by line, each with its newline; other line breaks are text."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Texts of one kind as one: whoever draws a piece parses its paragraph again."""
    return [Piece(kind, "".join(piece.text for piece in run)) for kind, run in groupby(pieces, _kind_of)]


def _kind_of(piece: Piece) -> Kind:
    return piece.kind
