"""The tokens of a reply as lines of a narrow column, and where in them each token is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from llama_chat.events import Token
from llama_chat.sanitize import sanitize


@dataclass(frozen=True, slots=True)
class Laid:
    """A reply as it stands in its column."""

    text: str
    lines: tuple[tuple[int, int], ...]
    """First character of each line, and the one behind its last."""
    spans: tuple[tuple[int, int], ...]
    """The same for each token; those that make no character readable are empty."""

    def line_of(self, index: int) -> int:
        """The line in which a token begins: where its blank is swallowed by a break, the one behind that."""
        if not 0 <= index < len(self.spans):
            return max(0, len(self.lines) - 1)
        start, end = self.spans[index]
        if self.text[start:end].startswith(" ") and end - start > 1:
            start += 1
        return next((n for n, (_, stop) in enumerate(self.lines) if start < stop), len(self.lines) - 1)


def lay(tokens: Sequence[Token], rest: str, cells: int) -> Laid:
    """The tokens in lines of so many cells, broken at blanks.

    Args:
        tokens: of the reply.
        rest: text behind them, which is no token's.
        cells: at least 2.
    """
    parts, spans, at = [], [], 0
    for token in tokens:
        shown = sanitize(token.text).replace("\t", "  ")
        parts.append(shown)
        spans.append((at, at + len(shown)))
        at += len(shown)
    text = "".join(parts) + sanitize(rest).replace("\t", "  ")
    return Laid(text, tuple(_lines(text, max(2, cells))), tuple(spans))


def _lines(text: str, cells: int) -> Iterator[tuple[int, int]]:
    start = 0
    for paragraph in text.split("\n"):
        yield from _broken(text, start, start + len(paragraph), cells)
        start += len(paragraph) + 1


def _broken(text: str, start: int, end: int, cells: int) -> Iterator[tuple[int, int]]:
    """At least one line."""
    while True:
        stop = _fitting(text, start, end, cells)
        blank = text.rfind(" ", start + 1, stop + 1) if stop < end else -1
        if blank > start:
            yield start, blank
            start = blank + 1
        else:
            yield start, stop
            start = stop
        if start >= end:
            return


def _fitting(text: str, start: int, end: int, cells: int) -> int:
    """How far the text from `start` on goes in so many cells; at least one character."""
    stop = min(end, start + cells)
    if text[start:stop].isascii():
        return stop
    width, stop = 0, start
    while stop < end and (width := width + cell_len(text[stop])) <= cells:
        stop += 1
    return max(stop, min(end, start + 1))
