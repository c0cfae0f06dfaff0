"""Where characters of a message's text stand in the rows that are drawn of it.

Markdown takes characters away and puts others in, so rows are found in the text again: a whole row as it is,
else its words one by one, each behind the one before it. What is drawn and is not in the text (a bullet, an
address that is shown twice) is passed over.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llama_chat.ui.transcript.rows import Row

NEAR = 240
"""Characters that are passed over in search of a word: of markup, or of a thought that is folded away."""
LONG_ROW = 16
"""A row of so many characters is searched for in all of the text: hardly any stands there twice."""
SHORT_WORD = 3
NEAR_SHORT = 12
"""A shorter word is searched for in so few characters: farther on stands another one."""
_WORD = re.compile(r"\w+|[^\w\s]")


class Run(NamedTuple):
    """Characters that are drawn as they stand in the text."""

    start: int
    """In the text."""
    row: int
    begin: int
    """In the row's content."""
    length: int


class TextPlaces:
    """Where the characters of one text are drawn.

    Args:
        text: of the message.
        rows: drawn of it, in order.
    """

    def __init__(self, text: str, rows: Sequence[Row]) -> None:
        self._runs = sorted(_runs(text, rows))
        self._starts = [run.start for run in self._runs]

    def spans(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Row, beginning and end in it of each part of text[start:end] that is drawn."""
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_left(self._starts, end)
        found = []
        for run in self._runs[first:last]:
            low, high = max(start, run.start), min(end, run.start + run.length)
            if low < high:
                found.append((run.row, run.begin + low - run.start, run.begin + high - run.start))
        return found


def _runs(text: str, rows: Sequence[Row]) -> Iterator[Run]:
    at = 0
    for number, row in enumerate(rows):
        drawn = row.line.content.plain
        bare = drawn.strip()
        if not bare:
            continue
        begin = drawn.index(bare)
        reach = len(text) if len(bare) >= LONG_ROW else at + NEAR_SHORT + len(bare)
        if (found := text.find(bare, at, reach)) >= 0:
            yield Run(found, number, begin, len(bare))
            at = found + len(bare)
            continue
        for run in _words(text, drawn, number, at):
            yield run
            at = run.start + run.length


def _words(text: str, drawn: str, number: int, at: int) -> Iterator[Run]:
    """The row's words one by one; blanks between two that follow each other are part of the first."""
    last: Run | None = None
    for match in _WORD.finditer(drawn):
        word = match[0]
        near = NEAR if len(word) >= SHORT_WORD else NEAR_SHORT
        found = text.find(word, at, at + near + len(word))
        if found < 0:
            continue
        at = found + len(word)
        if last is not None and text[last.start + last.length : found] == drawn[_end(last) : match.start()]:
            last = last._replace(length=at - last.start)
            continue
        if last is not None:
            yield last
        last = Run(found, number, match.start(), len(word))
    if last is not None:
        yield last


def _end(run: Run) -> int:
    return run.begin + run.length
