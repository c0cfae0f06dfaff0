"""The lines of a heat map: names of the columns, cells, what the cursor is on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.strip import Strip
from textual.style import Style

from llama_chat.drawing.heat_window import FEWEST_NUMBER_CELLS, HeatWindow, Zoom
from llama_chat.drawing.shading import CUT
from llama_chat.drawing.views import Axis, Grid
from llama_chat.sanitize import one_line
from llama_chat.ui.palette import Palette
from llama_chat.ui.walk.shades import LEVELS, Shades
from llama_chat.ui.widgets.fitting import cut

_MOST_LABEL = 16
_FEWEST_NAME_CELLS = 3
_RULER_CELLS = 10
_HALF = "▀"


class HeatLines:
    """Draws windows on heat maps in one theme.

    Args:
        shades: of the numbers.
        palette: of the words.
        base: what both stand on.
    """

    def __init__(self, shades: Shades, palette: Palette, base: Style) -> None:
        self.shades = shades
        self._palette = palette
        self._base = base
        self._names: dict[str, RichStyle] = {}
        self._seen: tuple[HeatWindow, Zoom, range] | None = None
        self._known: dict[int, list[int]] = {}

    def _style(self, name: str) -> RichStyle:
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = (self._base + self._palette.style(name)).rich_style
        return found

    @staticmethod
    def label_cells(grid: Grid, width: int) -> int:
        """What the names of the rows take, with a gap behind them."""
        axis = grid.rows
        digits = len(str(axis.size - 1)) + 1
        longest = max(map(cell_len, axis.labels), default=0) if axis.size <= 512 else _MOST_LABEL
        return min(longest + digits, _MOST_LABEL, max(4, width // 4)) + 1

    # --- the names of the columns ---------------------------------------------------------------------

    def header(self, window: HeatWindow, labels: int) -> Strip:
        """Names of the columns where there is room, else their numbers every ten cells."""
        axis, cells = window.grid.columns, window.zoom.cells
        segments = [Segment(" " * labels, self._style("meta"))]
        if axis.labels and cells >= _FEWEST_NAME_CELLS:
            for column in window.columns:
                name = cut(one_line(axis.label(column)), cells - 1)
                is_chosen = column == window.column
                style = self._style("bar.chosen" if is_chosen else "meta")
                segments.append(Segment(name, style))
                segments.append(Segment(" " * (cells - cell_len(name)), self._style("")))
        else:
            segments.append(Segment(self._ruler(window), self._style("meta")))
        return Strip(segments)

    @staticmethod
    def _ruler(window: HeatWindow) -> str:
        every = max(1, _RULER_CELLS // window.zoom.cells)
        marks = (str(column) for column in window.columns[::every])
        return "".join(mark.ljust(every * window.zoom.cells) for mark in marks).rstrip()

    # --- cells ----------------------------------------------------------------------------------------

    def row(self, window: HeatWindow, line: int, labels: int, *, has_focus: bool) -> Strip:
        """A line of cells behind the name of its (first) row."""
        rows = window.rows_of(line)
        chosen_row = window.row // window.zoom.row_bin * window.zoom.row_bin
        is_chosen = chosen_row in rows
        is_middle = line % window.zoom.lines == window.zoom.lines // 2
        if is_middle:
            name = self._row_name(window, window.row if is_chosen else rows[0], labels, is_chosen=is_chosen)
        else:
            name = Segment(" " * labels, self._style(""))
        segments = [name]
        if window.zoom.is_halved:
            segments += self._halves(window, rows, has_focus=has_focus)
        else:
            segments += self._wholes(window, rows, has_focus=has_focus, is_middle=is_middle)
        return Strip(segments)

    def _row_name(self, window: HeatWindow, row: int, labels: int, *, is_chosen: bool) -> Segment:
        axis = window.grid.rows
        number = "" if axis.letter in "HL" or axis.size <= 1 else f"{row} "
        name = cut(number + (one_line(axis.label(row)) if axis.labels else ""), labels - 1)
        text = " " * (labels - 1 - cell_len(name)) + name + " "
        return Segment(text, self._style("strong" if is_chosen else "meta"))

    def _wholes(
        self, window: HeatWindow, rows: range, *, has_focus: bool, is_middle: bool
    ) -> Iterator[Segment]:
        grid, shades, cells = window.scaled, self.shades, window.zoom.cells
        has_numbers = cells >= FEWEST_NUMBER_CELLS and is_middle
        for column, value in zip(window.columns, window.seen_values(rows[0]), strict=True):
            is_cursor = window.row in rows and column <= window.column < column + window.zoom.column_bin
            sign = "" if shades.has_colours else shades.sign(grid, value)
            if has_numbers:
                text = f"{sign}{_short(value).rjust(cells - 1 - len(sign))} "
            else:
                text = (sign or " ") * max(1, cells - (not shades.has_colours and cells > 1))
                text = text.ljust(cells)
            style = shades.cell(shades.level(grid, value)) if shades.has_colours else self._style("")
            if is_cursor:
                text, style = _marked(text, cells), style + self._cursor(has_focus=has_focus)
            yield Segment(text, style)

    def _levels(self, window: HeatWindow, grid: Grid, row: int) -> list[int]:
        """Of the cells that are seen of a row; kept as long as the same columns are seen as near."""
        seen = (window, window.zoom, window.columns)
        if self._seen != seen:
            self._seen, self._known = seen, {}
        found = self._known.get(row)
        if found is None:
            level = self.shades.level
            found = self._known[row] = [level(grid, value) for value in window.seen_values(row)]
        return found

    def _halves(self, window: HeatWindow, rows: range, *, has_focus: bool) -> Iterator[Segment]:
        grid, shades = window.scaled, self.shades
        bin_ = window.zoom.row_bin
        at = window.row // bin_ * bin_
        base = self._style("")
        uppers, *lowers = (self._levels(window, grid, row) for row in rows)
        for n, column in enumerate(window.columns):
            upper = uppers[n]
            is_cursor = at in rows and column <= window.column < column + window.zoom.column_bin
            if is_cursor:
                yield Segment("◆", shades.cell(upper) + self._cursor(has_focus=has_focus))
            elif len(rows) > 1:
                yield Segment(_HALF, shades.halves(upper, lowers[0][n]))
            else:
                style = shades.halves(upper, upper)
                yield Segment(_HALF, RichStyle(color=style.color, bgcolor=base.bgcolor))

    @staticmethod
    def _cursor(*, has_focus: bool) -> RichStyle:
        return RichStyle(bold=True, reverse=has_focus)

    # --- below ----------------------------------------------------------------------------------------

    def status(self, window: HeatWindow, width: int) -> Strip:
        """What the cursor is on, and what the shades mean."""
        legend = list(self._legend(window.scaled))
        legend_cells = sum(segment.cell_length for segment in legend)
        room = width - legend_cells - 2
        words = grid_reading(window)
        part = window.range_text
        whole = f"{words} · {part}" if part else words
        has_legend = cell_len(words) <= room
        shown = whole if cell_len(whole) <= (room if has_legend else width) else cut(words, width)
        segments = [Segment(shown, self._style(""))]
        if has_legend:
            segments += [Segment(" " * (room + 2 - cell_len(shown)), self._style("")), *legend]
        return Strip(segments)

    def _legend(self, grid: Grid) -> Iterator[Segment]:
        meta = self._style("meta")
        is_share = grid.kind == "share"
        low, high = ("0", "100 %") if is_share else (_short(-grid.full), _short(grid.full))
        yield Segment(f"{low} ", meta)
        steps = range(0, 9) if is_share else range(-4, 5)
        for n in steps:
            strong = n / 8 if is_share else n / 4
            value = strong * strong if is_share else strong * grid.full
            if self.shades.has_colours:
                yield Segment(" ", self.shades.cell(round(strong * LEVELS)))
            elif not is_share or n % 2 == 0:
                yield Segment(self.shades.sign(grid, value), meta)
        yield Segment(f" {high}", meta)


def grid_reading(window: HeatWindow) -> str:
    """What the cursor is on: `‹is› looks at ‹France›: 61.3 %`."""
    grid, row, column = window.grid, window.row, window.column
    value = grid.value(row, column)
    names = (_named(grid.rows, row), _named(grid.columns, column))
    if value == -math.inf:
        return f"{names[0]} × {names[1]}: {CUT} -∞, the future"
    if grid.kind == "share":
        return f"{names[0]} looks at {names[1]}: {100 * value:.1f} %"
    return f"{names[0]} × {names[1]}: {value:.4g}"


def _named(axis: Axis, n: int) -> str:
    if not axis.labels:
        return f"{axis.letter} {n}"
    if axis.letter == "L":
        return axis.label(n)
    return f"head {axis.label(n)}" if axis.letter == "H" else f"{n} ‹{one_line(axis.label(n))}›"


def _short(value: float) -> str:
    """A number in five letters."""
    if value == -math.inf:
        return "-∞"
    size = abs(value)
    if size >= 99_999.5:
        return f"{value:.0e}".replace("e+0", "e")
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def _marked(text: str, cells: int) -> str:
    """The cell with the cursor's brackets."""
    if cells == 1:
        return "◆"
    return f"▐{text[1:-1]}▌" if cells > 1 else text
