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


def painter_for(stream: TextIO, environment: Mapping[str, str]) -> Painter:
    """Colours where a terminal shows them, and nobody set NO_COLOR (https://no-color.org)."""
    wanted = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return Painter(wanted and stream.isatty())


def width_of(stream: TextIO) -> int | None:
    """Cells in a line of the terminal; None in a pipe, where nothing is cut."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


class Column(NamedTuple):
    """How a column of a table looks."""

    title: str = ""
    is_right: bool = False
    """Numbers stand at the right."""
    shrinks: bool = False
    """Whether its texts are cut where the terminal is too narrow for the table."""
    paint: Callable[[str], str] = str


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    painter: Painter | None = None,
    width: int | None = None,
    indent: str = "",
) -> list[str]:
    """The table's lines: a dim line of titles, where there are any, and a line a row.

    Args:
        columns: from left to right.
        rows: texts, whatever is in them; a row may end early.
        painter: colours the titles.
        width: of the terminal; columns that shrink are cut so that a line fits it.
        indent: stands before every line.
    """
    titles = [column.title for column in columns]
    cells = [[one_line(text) for text in row] for row in rows]
    widths = _widths(columns, [titles, *cells], (width - len(indent)) if width else None)
    found = []
    if any(titles):
        found.append(indent + (painter or Painter()).dim(_line(titles, columns, widths, is_painted=False)))
    return found + [indent + _line(row, columns, widths) for row in cells]


def one_line(text: str) -> str:
    """Any text as one safe line: line breaks and tabs are seen as control pictures."""
    return sanitize(text).replace("\n", "␊").replace("\t", "␉")


def cut(text: str, cells: int) -> str:
    """The text in at most so many cells, `…` where something is missing."""
    if cells_of(text) <= cells:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, max(cells - 1, 0)) + "…"


def cells_of(text: str) -> int:
    """Cells that the text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def bytes_text(nbytes: float) -> str:
    """The size as people say it: `16.06 GB`, `98.4 MB`, `2.3 kB`, `512 B`."""
    for unit, size, digits in (("TB", 1e12, 2), ("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if nbytes >= size:
            return f"{nbytes / size:.{digits}f} {unit}"
    return f"{nbytes:.0f} B"


def count_text(count: int, noun: str) -> str:
    """`1 tensor`, `272 tensors`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], most: int | None) -> list[int]:
    by_column = zip_longest(*rows, fillvalue="")
    widths = [max(map(cells_of, texts), default=0) for texts in by_column]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - most if most else 0
    for n in sorted(range(len(widths)), key=lambda n: -widths[n]):
        if over > 0 and columns[n].shrinks:
            taken = max(0, min(over, widths[n] - _SMALLEST_SHRUNK))
            widths[n] -= taken
            over -= taken
    return widths


def _line(
    row: Sequence[str], columns: Sequence[Column], widths: Sequence[int], *, is_painted: bool = True
) -> str:
    parts = []
    for n, text in enumerate(row):
        shown = cut(text, widths[n])
        space = " " * (widths[n] - cells_of(shown))
        is_last = n == len(row) - 1
        painted = columns[n].paint(shown) if is_painted else shown
        parts.append(space + painted if columns[n].is_right else painted + space * (not is_last))
    return GAP.join(parts).rstrip()
