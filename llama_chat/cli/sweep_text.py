"""A sweep on stdout: columns side by side that grow in a terminal, one below the other in a pipe."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Protocol, TextIO

from llama_chat.cli.tables import (
    Painter,
    at_words,
    cells_of,
    count_text,
    cut,
    painter_for,
    pictured_line,
    wrapped,
)
from llama_chat.distribution.names import TokenNames
from llama_chat.distribution.told import percent
from llama_chat.events import ModelInfo
from llama_chat.sanitize import sanitize
from llama_chat.sweep.columns import Variation
from llama_chat.sweep.gathered import ColumnReply, SweepReplies
from llama_chat.sweep.words import LEGEND, figure_rows

COLUMN_CELLS = 22
"""The narrowest column in which a sentence and the figures can be read."""
_GAP = 3
_FRAME_S = 0.1
_FIRST_TOKENS = 5
_PERCENT_CELLS = len("< 0.01 %")


class SweepPrinter(Protocol):
    """Whoever prints a sweep."""

    def show(self, replies: SweepReplies) -> None:
        """Something has happened."""
        ...

    def end(self, replies: SweepReplies) -> None:
        """Nothing more will."""
        ...


@dataclass(frozen=True, slots=True)
class Looks:
    """What the printers need to know."""

    stream: TextIO
    painter: Painter
    prompt: str
    headings: Sequence[str]
    varied: str
    info: ModelInfo
    names: TokenNames

    def head(self, replies: SweepReplies, width: int | None) -> Iterator[str]:
        """The prompt, the model, what all columns have in common."""
        prompt = " ".join(sanitize(self.prompt).split())
        yield self.painter.bold(cut(prompt, width) if width else prompt)
        column = replies.columns[0].column
        facts = [self.info.name, self.info.dtype, self.info.device]
        if replies.prefilled is not None:
            facts.append(f"prompt of {count_text(replies.prefilled.prompt_tokens, 'token')}, computed once")
        if self.varied != "seed":
            facts.append(f"seed {column.seed}")
        yield from map(self.painter.dim, wrapped(" · ".join(facts), width))

    def legend(self, width: int | None) -> Iterator[str]:
        """What the figures mean."""
        for label, meaning in LEGEND:
            yield from map(self.painter.dim, wrapped(f"{label}: {meaning}", width))


def printer_for(
    stream: TextIO,
    environment: Mapping[str, str],
    prompt: str,
    variation: Variation,
    info: ModelInfo,
    names: TokenNames,
) -> SweepPrinter:
    """Columns that grow where a terminal shows them, else one after the other."""
    painter = painter_for(stream, environment)
    looks = Looks(stream, painter, prompt, variation.headings(), variation.name, info, names)
    is_live = stream.isatty() and environment.get("TERM") != "dumb"
    return GrowingColumns(looks) if is_live else ColumnsBelow(looks)


@dataclass(slots=True)
class ColumnsBelow:
    """For pipes and simple terminals: each column when it, and all before it, have ended."""

    looks: Looks
    printed: int = 0

    def show(self, replies: SweepReplies) -> None:
        """Print the columns that have ended."""
        while self.printed < len(replies.columns) and replies.columns[self.printed].is_over:
            if replies.prefilled is None:
                return
            if not self.printed:
                self._print(self.looks.head(replies, None))
            self._print(self._lines(self.printed, replies.columns[self.printed]))
            self.printed += 1

    def end(self, replies: SweepReplies) -> None:
        """Print what is left, and what the figures mean."""
        self.show(replies)
        self._print(["", *self.looks.legend(None)])

    def _lines(self, number: int, reply: ColumnReply) -> Iterator[str]:
        yield from ("", self.looks.painter.bold(self.looks.headings[number]))
        yield from sanitize(reply.text).split("\n")
        rows = [*figure_rows(reply.figures), ("tokens", reply.state)]
        for place, (name, after) in enumerate(first_choice(reply, self.looks.names)):
            rows.append(("" if place else "first of", f"{percent(after).rjust(_PERCENT_CELLS)}  {name}"))
        for label, value in rows:
            yield self.looks.painter.dim(f"  {label.ljust(10)}  {pictured_line(value)}")

    def _print(self, lines: Iterator[str] | Sequence[str]) -> None:
        for line in lines:
            print(line, file=self.looks.stream, flush=True)


@dataclass(slots=True)
class GrowingColumns:
    """For terminals: drawn again and again in the same place, and once whole at the end."""

    looks: Looks
    clock: Callable[[], float] = time.monotonic
    _drawn: int = 0
    """Lines of the last drawing."""
    _last_s: float = field(default=float("-inf"))

    def show(self, replies: SweepReplies) -> None:
        """Draw what there is, not more often than it can be read."""
        if replies.prefilled is None or self.clock() < self._last_s + _FRAME_S:
            return
        self._last_s = self.clock()
        width, rows = shutil.get_terminal_size()
        self._draw(self._running_lines(replies, width - 1, rows - 1))

    def end(self, replies: SweepReplies) -> None:
        """Draw all of it."""
        width = shutil.get_terminal_size().columns - 1
        lines = [*self.looks.head(replies, width), *self._bands(replies, width, None, is_whole=True)]
        self._draw([*lines, "", *self.looks.legend(width)])

    def _running_lines(self, replies: SweepReplies, width: int, rows: int) -> list[str]:
        """What fits on the screen: of each text its end."""
        head = list(self.looks.head(replies, width))
        bands = -(-len(replies.columns) // columns_within(width, len(replies.columns)))
        for is_whole in (True, False):
            around = 3 + (len(LEGEND) + 1 if is_whole else 0)  # an empty line, the heading, the state
            texts = (rows - len(head)) // bands - around
            if texts >= 2:
                break
        found = [*head, *self._bands(replies, width, max(1, texts), is_whole=is_whole)]
        return found[-rows:]

    def _bands(self, replies: SweepReplies, width: int, rows: int | None, *, is_whole: bool) -> Iterator[str]:
        """As many columns beside each other as fit, and below them the next ones."""
        count = len(replies.columns)
        per_band = columns_within(width, count)
        cells = (width - _GAP * (per_band - 1)) // per_band
        for start in range(0, count, per_band):
            numbers = range(start, min(start + per_band, count))
            columns = [replies.columns[n] for n in numbers]
            bold, dim = self.looks.painter.bold, self.looks.painter.dim
            yield ""
            yield _beside([[self.looks.headings[n]] for n in numbers], cells, bold)[0]
            texts = [text_lines(column.text, cells) for column in columns]
            yield from _beside([lines[-rows:] if rows else lines for lines in texts], cells, str)
            if is_whole:
                if rows is None:
                    yield ""
                yield from _beside([_figure_lines(column, cells) for column in columns], cells, dim)
            yield from _beside([at_words(column.state, cells) for column in columns], cells, dim)
            if rows is None:
                yield ""
                firsts = [_first_lines(column, self.looks.names, cells) for column in columns]
                yield from _beside(firsts, cells, dim)

    def _draw(self, lines: Sequence[str]) -> None:
        """In the place of what was drawn before."""
        print(drawn_over(self._drawn, lines), end="", file=self.looks.stream, flush=True)
        self._drawn = len(lines)


def drawn_over(before: int, lines: Sequence[str]) -> str:
    """The lines in the place of so many that stand above the cursor, whose rest is cleared.

    Line by line: a screen that is cleared from its first line on goes into the history of some terminals.
    """
    back = f"\r\x1b[{before}A" if before else ""
    return back + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"


def columns_within(width: int, count: int) -> int:
    """How many stand beside each other, so that all rows of them are about as long."""
    most = max(1, min(count, (width + _GAP) // (COLUMN_CELLS + _GAP)))
    bands = -(-count // most)
    return -(-count // bands)


def text_lines(text: str, cells: int) -> list[str]:
    """The text in lines of so many cells."""
    return [part for line in sanitize(text).expandtabs(4).split("\n") for part in at_words(line, cells)]


def first_choice(reply: ColumnReply, names: TokenNames) -> list[tuple[str, float]]:
    """What the first token was drawn from: the likeliest by name, and their probabilities after sampling."""
    if not reply.tokens:
        return []
    bars = islice(reply.bars_of(reply.tokens[0]).bars, _FIRST_TOKENS)
    return [(names.quoted(bar.token_id), bar.after) for bar in bars]


def _figure_lines(reply: ColumnReply, cells: int) -> list[str]:
    return [
        f"{label}{value.rjust(min(cells, 2 * COLUMN_CELLS) - cells_of(label))}"
        for label, value in figure_rows(reply.figures)
    ]


def _first_lines(reply: ColumnReply, names: TokenNames, cells: int) -> list[str]:
    """A bar, a percentage and a name in each line, below a line that says what they are."""
    room = min(10, cells - COLUMN_CELLS + 4)
    found = [
        f"{('█' * round(after * room) or '▏').ljust(room)}{percent(after).rjust(_PERCENT_CELLS)}  "
        f"{cut(pictured_line(name), cells - room - _PERCENT_CELLS - 2)}"
        for name, after in first_choice(reply, names)
    ]
    return ["first token out of", *found] if found else []


def _beside(columns: Sequence[Sequence[str]], cells: int, paint: Callable[[str], str]) -> list[str]:
    """Lines of each column, side by side."""
    found = []
    for parts in zip_longest(*columns, fillvalue=""):
        shown = [cut(part, cells) for part in parts]
        painted = [
            paint(part) + " " * (cells - cells_of(part)) if n < len(shown) - 1 else paint(part)
            for n, part in enumerate(shown)
        ]
        found.append((" " * _GAP).join(painted).rstrip())
    return found
