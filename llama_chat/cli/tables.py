"""Tables and colours for the commands that print: plain in pipes, safe for any terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple, TextIO

from llama_chat.sanitize import sanitize

GAP = "  "
_SMALLEST_SHRUNK = 12
_LONGEST_WORD = 24

# Backgrounds of neighbours in a row of coloured cells, black on them: blue, green, peach, pink (xterm's 256).
_BACKGROUNDS = (153, 157, 223, 218)


@dataclass(frozen=True, slots=True)
class Painter:
    """Gives text its colours, or leaves it as it is."""

    is_coloured: bool = False

    def bold(self, text: str) -> str:
        """A heading."""
        return self._painted(text, "1")

    def dim(self, text: str) -> str:
        """What matters less."""
        return self._painted(text, "2")

    def on(self, text: str, n: int) -> str:
        """The n-th of neighbours: each has another background than the one before it."""
        return self._painted(text, f"38;5;16;48;5;{_BACKGROUNDS[n % len(_BACKGROUNDS)]}")

    def _painted(self, text: str, codes: str) -> str:
        return f"\x1b[{codes}m{text}\x1b[0m" if self.is_coloured and text else text


def painter_for(stream: TextIO | None, environment: Mapping[str, str]) -> Painter:
    """Colours where a terminal shows them, and nobody set NO_COLOR (https://no-color.org). None: closed."""
    wanted = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return Painter(wanted and stream is not None and stream.isatty())


def width_of(stream: TextIO | None) -> int | None:
    """Cells in a line of the terminal; None in a pipe, where nothing is cut."""
    return shutil.get_terminal_size().columns if stream is not None and stream.isatty() else None


class Column(NamedTuple):
    """How a column of a table looks."""

    title: str = ""
    is_right: bool = False
    """Numbers stand at the right."""
    shrinks: bool = False
    """Whether its texts are cut where the terminal is too narrow for the table."""
    wraps: Callable[[str, int], list[str]] | None = None
    """Or how they go on in further lines: `at_words`, `anywhere`. So does the title, at words."""
    paint: Callable[[str], str] = str
    goes: int = 0
    """Left out where the terminal is too narrow even with everything cut: 1 first, then 2; 0 stays."""


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    painter: Painter | None = None,
    width: int | None = None,
    indent: str = "",
) -> list[str]:
    """The table's lines: a dim line of titles, where there are any, and a line a row, or more that wrap.

    In a narrow terminal texts are cut first, then columns left out that may go.

    Args:
        columns: from left to right.
        rows: texts, whatever is in them; a row may end early.
        painter: colours the titles.
        width: of the terminal; columns that shrink are cut, and others wrap, so that a line fits it.
        indent: stands before every line.
    """
    cells = [[pictured_line(text) for text in row] for row in rows]
    most = (width - len(indent)) if width else None
    columns, cells = _without_what_goes(columns, cells, most)
    titles = [column.title for column in columns]
    widths = _widths(columns, [titles, *cells], most)
    found = []
    if any(titles):
        plain = [column._replace(paint=str, wraps=column.wraps and at_words) for column in columns]
        dim = (painter or Painter()).dim
        found += [indent + dim(line) for line in _lines(titles, plain, widths)]
    return found + [indent + line for row in cells for line in _lines(row, columns, widths)]


def pictured_line(text: str) -> str:
    """Any text as one safe line: line breaks and tabs are seen as control pictures."""
    return sanitize(text).replace("\n", "␊").replace("\t", "␉")


def cut(text: str, cells: int) -> str:
    """The text in at most so many cells, `…` where something is missing."""
    if cells_of(text) <= cells:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, max(cells - 1, 0)) + "…"


def anywhere(text: str, cells: int) -> list[str]:
    """The text in lines of so many cells, nothing of it lost; at least one line."""
    if cells_of(text) <= cells:
        return [text]
    from rich.cells import chop_cells

    return chop_cells(text, max(cells, 2))  # no character is wider


def at_words(text: str, cells: int | None) -> list[str]:
    """The text in lines of so many cells, broken at spaces, in a word only where it is longer; None: one."""
    if cells is None or cells_of(text) <= cells:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cells_of(lines[-1]) + 1 + cells_of(word) <= cells:
            lines[-1] += f" {word}"
        else:
            lines += anywhere(word, cells)
    return lines


def wrapped(text: str, width: int | None, *, indent: str = GAP) -> list[str]:
    """Words for a terminal of that width, in safe lines; those that go on are indented."""
    lines = at_words(pictured_line(text), width and width - len(indent))
    return [lines[0], *(indent + line for line in lines[1:])]


def cells_of(text: str) -> int:
    """Cells that the text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def count_text(count: int, noun: str) -> str:
    """`1 tensor`, `272 tensors`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _without_what_goes(
    columns: Sequence[Column], rows: list[list[str]], most: int | None
) -> tuple[Sequence[Column], list[list[str]]]:
    """The columns that there is room for, and their cells."""
    while most is not None and (going := [column.goes for column in columns if column.goes]):
        widths = _widths(columns, [[column.title for column in columns], *rows], most)
        if sum(widths) + len(GAP) * (len(widths) - 1) <= most:
            break
        place = next(n for n, column in enumerate(columns) if column.goes == min(going))
        columns = [*columns[:place], *columns[place + 1 :]]
        rows = [[*row[:place], *row[place + 1 :]] for row in rows]
    return columns, rows


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], most: int | None) -> list[int]:
    by_column = zip_longest(*rows, fillvalue="")
    widths = [max(map(cells_of, texts), default=0) for texts in by_column]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - most if most else 0
    for n in sorted(range(len(widths)), key=lambda n: -widths[n]):
        if over > 0 and (columns[n].shrinks or columns[n].wraps):
            taken = max(
                0, min(over, widths[n] - _least(columns[n], [row[n] for row in rows if n < len(row)]))
            )
            widths[n] -= taken
            over -= taken
    return widths


def _least(column: Column, texts: Sequence[str]) -> int:
    """Cells below which the column does not go."""
    if column.wraps is not at_words:
        return _SMALLEST_SHRUNK
    longest = max(cells_of(word) for text in texts for word in text.split(" "))
    return min(longest, _LONGEST_WORD)


def _lines(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    """One line, or as many as the longest cell wraps into."""
    cells = [
        column.wraps(text, cells) if column.wraps else [cut(text, cells)]
        for text, column, cells in zip(row, columns, widths, strict=False)
    ]
    return [_line(parts, columns, widths) for parts in zip_longest(*cells, fillvalue="")]


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for n, shown in enumerate(row):
        space = " " * (widths[n] - cells_of(shown))
        is_last = n == len(row) - 1
        painted = columns[n].paint(shown)
        parts.append(space + painted if columns[n].is_right else painted + space * (not is_last))
    return GAP.join(parts).rstrip()
