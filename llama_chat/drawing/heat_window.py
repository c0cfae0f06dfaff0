"""The part of a heat map that a screen has room for: how near it is seen, where it is, where the cursor is.

A cell stands for one number, or for the strongest of several. Nothing but what is seen is looked at, so 2,000
tokens by 2,000 are as quick as 20.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from llama_chat.drawing.shading import strongest
from llama_chat.drawing.views import Grid

NUMBER_CELLS = 8
"""Characters of a number that is written out: `-12.34`, and a gap."""
MOST_CELLS = 12
MOST_LINES = 3
"""Of a cell, where there is more room than numbers."""
SAMPLED_ROWS = 16
"""That are looked at to learn how large the numbers are."""
FEWEST_NUMBER_CELLS = 6
"""Characters of a cell that a number fits into."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """How near a map is seen."""

    row_bin: int
    """Numbers, one below the other, of one cell."""
    column_bin: int
    cells: int
    """Characters of a cell, side by side."""
    is_halved: bool
    """Whether a line has two cells, one above the other."""
    lines: int = 1
    """That a cell takes."""

    @property
    def line_rows(self) -> int:
        """Rows of numbers in a line of cells."""
        return self.row_bin * (1 + self.is_halved)


class HeatWindow:
    """A window on a grid; rows and columns are those of its numbers.

    Args:
        grid: to be seen.
        has_halves: whether two cells may stand in one character, which needs colours.
    """

    def __init__(self, grid: Grid, *, has_halves: bool = True) -> None:
        self.grid = grid
        self.row = grid.rows.size - 1
        self.column = 0
        self._has_halves = has_halves
        self._zooms: tuple[Zoom, ...] = (Zoom(1, 1, 1, False),)
        self._near = 0
        self._room = (0, 0)
        self._scaled: dict[Zoom, Grid] = {}
        self._top = self._left = 0

    def same_size(self, grid: Grid) -> bool:
        """Whether the grid has as many rows and columns as this one's."""
        return (grid.rows.size, grid.columns.size) == (self.grid.rows.size, self.grid.columns.size)

    def stand_like(self, other: HeatWindow) -> None:
        """Look from as near, the cursor on the same number."""
        self.row, self.column, self._near = other.row, other.column, other._near
        self._top, self._left, self._zooms = other._top, other._left, other._zooms

    # --- how near ---------------------------------------------------------------------------------------

    @property
    def zoom(self) -> Zoom:
        """How near it is seen."""
        return self._zooms[self._near]

    @property
    def can_zoom(self) -> tuple[bool, bool]:
        """Whether it can be seen from further away, and from nearer."""
        return self._near > 0, self._near < len(self._zooms) - 1

    def fit(self, cells: int, lines: int) -> None:
        """Room for so many characters and lines: all of the map, unless a nearer look was taken."""
        if (cells, lines) == self._room:
            return
        self._room = (cells, lines)
        self._zooms = tuple(self._ladder(max(1, cells), max(1, lines)))
        self._near = min(self._near, len(self._zooms) - 1)
        self._follow()

    def _ladder(self, cells: int, lines: int) -> Iterator[Zoom]:
        """From all of it to the single number."""
        rows, columns = self.grid.rows.size, self.grid.columns.size
        is_halved = rows > lines and self._has_halves
        row_bin = _power(rows, lines * (1 + is_halved))
        column_bin = _power(columns, cells)
        width = 1 if is_halved or column_bin > 1 else min(MOST_CELLS, cells // columns)
        height = 1 if is_halved or row_bin > 1 else min(MOST_LINES, lines // rows, 1 + width // 5)
        yield Zoom(row_bin, column_bin, width, is_halved, height)
        while row_bin > 1 or column_bin > 1:
            nearest = max(row_bin, column_bin)
            row_bin, column_bin = (bin_ // 2 if bin_ == nearest else bin_ for bin_ in (row_bin, column_bin))
            yield Zoom(row_bin, column_bin, 1, is_halved)
        for wider in (2, 4, NUMBER_CELLS):
            if wider > width:
                yield Zoom(1, 1, wider, False)

    def zoom_by(self, steps: int) -> bool:
        """Look from nearer or from further away, the cursor staying where it is; whether that is possible."""
        wanted = min(max(self._near + steps, 0), len(self._zooms) - 1)
        has_changed = wanted != self._near
        self._near = wanted
        self._centre()
        return has_changed

    # --- where ------------------------------------------------------------------------------------------

    def move(self, rows: int, columns: int) -> None:
        """Move the cursor by so many cells."""
        self.go(self.row + rows * self.zoom.row_bin, self.column + columns * self.zoom.column_bin)

    def page(self, pages: int) -> None:
        """Move the cursor by the height of the window."""
        self.go(self.row + pages * self.zoom.line_rows * max(1, self._room[1] - 1), self.column)

    def go(self, row: int, column: int) -> None:
        """Put the cursor on that number, or on the nearest that there is."""
        self.row = min(max(row, 0), self.grid.rows.size - 1)
        self.column = min(max(column, 0), self.grid.columns.size - 1)
        self._follow()

    def scroll(self, lines: int) -> None:
        """Scroll so far down; the cursor stays in sight."""
        rows = lines * self.zoom.line_rows
        self._top = min(max(self._top + rows, 0), self._last_top)
        last = self._top + self._seen_rows - 1
        self.row = min(max(self.row, self._top), max(self._top, min(last, self.grid.rows.size - 1)))

    @property
    def _seen_rows(self) -> int:
        return self._room[1] // self.zoom.lines * self.zoom.line_rows

    @property
    def _seen_columns(self) -> int:
        return self._room[0] // self.zoom.cells * self.zoom.column_bin

    @property
    def _last_top(self) -> int:
        line = self.zoom.line_rows
        return max(0, -(-(self.grid.rows.size - self._seen_rows) // line) * line)

    def _follow(self) -> None:
        """Have the cursor in sight."""
        line, bin_ = self.zoom.line_rows, self.zoom.column_bin
        self._top = _following(self._top, self.row, self.grid.rows.size, self._seen_rows, line)
        self._left = _following(self._left, self.column, self.grid.columns.size, self._seen_columns, bin_)

    def _centre(self) -> None:
        self._top, self._left = self.row - self._seen_rows // 2, self.column - self._seen_columns // 2
        self._follow()

    # --- what is seen -----------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Lines that have cells."""
        lines = self.zoom.lines
        return (
            min(self._room[1] // lines, -(-(self.grid.rows.size - self._top) // self.zoom.line_rows)) * lines
        )

    @property
    def columns(self) -> range:
        """The first column of each cell that is seen."""
        stop = min(self._left + self._seen_columns, self.grid.columns.size)
        return range(self._left, stop, self.zoom.column_bin)

    def rows_of(self, line: int) -> range:
        """The first row of each cell in a line: one, or two that stand in one character."""
        start = self._top + line // self.zoom.lines * self.zoom.line_rows
        return range(start, min(start + self.zoom.line_rows, self.grid.rows.size), self.zoom.row_bin)

    def at(self, x: int, line: int) -> tuple[int, int] | None:
        """Row and column of the number that is seen there; None where there is none."""
        columns = self.columns
        place = x // self.zoom.cells
        if not (0 <= line < self.height and 0 <= place < len(columns)):
            return None
        return self.rows_of(line)[0], columns[place]

    @property
    def range_text(self) -> str:
        """What part of it is seen, in words; empty where that is all."""
        rows, columns = self.grid.rows, self.grid.columns
        last_row = min(self._top + self._seen_rows, rows.size)
        last_column = self.columns[-1] + self.zoom.column_bin if self.columns else 0
        parts = []
        if self._top or last_row < rows.size:
            parts.append(f"rows {self._top:,}–{last_row - 1:,} of {rows.size:,}")
        if self._left or last_column < columns.size:
            parts.append(f"columns {self._left:,}–{min(last_column, columns.size) - 1:,} of {columns.size:,}")
        return ", ".join(parts)

    @property
    def scaled(self) -> Grid:
        """The grid with the size that cells of this zoom are drawn at full strength from.

        Of several numbers the strongest is usually larger than one of them: all cells would look alike.
        """
        zoom, grid = self.zoom, self.grid
        if grid.kind == "share" or zoom.row_bin * zoom.column_bin == 1:
            return grid
        found = self._scaled.get(zoom)
        if found is None:
            full = self._usual_size()
            found = self._scaled[zoom] = replace(grid, full=full) if full else grid
        return found

    def _usual_size(self) -> float:
        """What most cells of a usual row do not exceed."""
        rows, columns = self.grid.rows.size, range(0, self.grid.columns.size, self.zoom.column_bin)
        every = max(self.zoom.row_bin, rows // SAMPLED_ROWS // self.zoom.row_bin * self.zoom.row_bin)
        of_rows = []
        for row in range(0, rows, every):
            values = (self.value_at(row, column) for column in columns)
            sizes = sorted(abs(value) for value in values if value > -math.inf)
            of_rows.append(sizes[int(len(sizes) * 0.97)] if sizes else 0.0)
        return sorted(of_rows)[len(of_rows) // 2]

    def seen_values(self, row: int) -> list[float]:
        """Those of the cells that are seen of the row that begins there."""
        zoom, columns = self.zoom, self.columns
        level = min(_log2(zoom.row_bin), _log2(zoom.column_bin), len(self.grid.coarser))
        step = 1 << level
        if not zoom.row_bin == zoom.column_bin == step:
            return [self.value_at(row, column) for column in columns]
        grid = self.grid.coarser[level - 1] if level else self.grid
        start = row // step * grid.columns.size + columns.start // step
        return list(grid.values[start : start + len(columns)])

    def value_at(self, row: int, column: int) -> float:
        """The number, or the strongest, of the cell that begins there."""
        row_bin, column_bin = self.zoom.row_bin, self.zoom.column_bin
        level = min(_log2(row_bin), _log2(column_bin), len(self.grid.coarser))
        grid = self.grid.coarser[level - 1] if level else self.grid
        step = 1 << level
        if row_bin == column_bin == step:
            return grid.value(row // step, column // step)
        rows = range(row // step, min((row + row_bin - 1) // step + 1, grid.rows.size))
        first, last = column // step, min((column + column_bin - 1) // step + 1, grid.columns.size)
        width = grid.columns.size
        return strongest([grid.values[n * width + first : n * width + last] for n in rows])


def _power(size: int, room: int) -> int:
    """The power of two that the size is to be divided by to have room."""
    bin_ = 1
    while -(-size // bin_) > room:
        bin_ *= 2
    return bin_


def _log2(power: int) -> int:
    return power.bit_length() - 1


def _following(start: int, at: int, size: int, seen: int, step: int) -> int:
    """Where the window begins so that it shows the place, in whole steps and with nothing empty."""
    seen = max(seen, step)
    start = min(start, at)
    if at >= start + seen:
        start = at - seen + step
    start = min(start, size - seen + step - 1)
    return max(0, start // step * step)
