"""Steps of a walk as lines of text: words, shapes, heat maps in ░▒▓█, arrows in braille, bars, tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llama_chat.cli.tables import Column, Painter, at_words, cells_of, cut, table_lines, wrapped
from llama_chat.drawing.braille import ARROW_CELLS, arrow_strip
from llama_chat.drawing.shading import CUT, NEGATIVE, POSITIVE, bins, glyph, pooled, thresholds
from llama_chat.drawing.svg import cell_text, step_title
from llama_chat.drawing.views import LETTERS, Arrow, Axis, Bars, Cell, Grid, StepView, Table, WalkFacts

WIDTH = 80
"""Of pictures and words in a pipe; a wider terminal gets wider heat maps."""

_MOST_WORDS = 100
_LABEL_CELLS = 12
_NUMBER_CELLS = 8  # a shade, a number of five letters, gaps
_MOST_ROWS = 24
_FIRST_ROWS = 8
_BAR_CELLS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"
_NO_LETTERS = set("+-.,°%() 0123456789∞")


def facts_lines(facts: WalkFacts, painter: Painter, width: int | None) -> Iterator[str]:
    """The model, the sizes with their letters, and how exact the steps are."""
    width = width or WIDTH
    count = len(facts.token_ids)
    head = f"{facts.model}, {facts.dtype} on {facts.device}: {count:,} token{'s' if count > 1 else ''}"
    yield from map(painter.bold, wrapped(head, width))
    if facts.altered:
        yield from map(painter.bold, wrapped(f"The model is altered: {facts.altered}", width))
    sizes = [f"{letter} {size:,} {LETTERS[letter]}" for letter, size in facts.sizes]
    yield from map(painter.dim, _packed(sizes, width))


def step_lines(view: StepView, facts: WalkFacts, painter: Painter, width: int | None) -> Iterator[str]:
    """One step, from its title to its pictures."""
    title = f"{step_title(view, facts)}  [{view.step.name}]"
    yield from map(painter.bold, wrapped(title, width or WIDTH))
    yield from map(painter.dim, wrapped(view.step.formula, width or WIDTH))
    shapes = [f"{shape.name} {shape.text}" for shape in view.shapes]
    yield from map(painter.dim, _packed(shapes, width or WIDTH))
    for sentence in view.sentences:
        yield from at_words(sentence, min(width or WIDTH, _MOST_WORDS))
    yield from picture_lines(view, painter, width)


def picture_lines(view: StepView, painter: Painter, width: int | None) -> Iterator[str]:
    """What there is to see of the step, each picture with an empty line before it."""
    if view.arrows:
        yield from ("", *_arrow_lines(view.arrows, width or WIDTH))
    for grid in view.grids:
        yield from ("", *grid_lines(grid, painter, width or WIDTH))
    for bars in view.bars:
        yield from ("", *_bar_lines(bars, painter, width or WIDTH))
    for table in view.tables:
        yield from ("", *_table_lines(table, painter, width))


def _packed(items: Sequence[str], width: int) -> list[str]:
    """The items in lines, none of them broken that fits one."""
    lines: list[str] = []
    for item in items:
        if lines and cells_of(lines[-1]) + 3 + cells_of(item) <= width:
            lines[-1] += f"   {item}"
        else:
            lines += wrapped(item, width)
    return lines


# --- heat maps ------------------------------------------------------------------------------------------


def grid_lines(grid: Grid, painter: Painter, width: int) -> Iterator[str]:
    """Title with the range, the axes, a line a row, the meaning of the shades."""
    room = max(16, width - _LABEL_CELLS - 1)
    per_number = room // _NUMBER_CELLS
    shows_numbers = bool(grid.columns.labels) and grid.columns.size <= per_number
    columns = per_number if shows_numbers else room
    drawn = pooled(grid, _MOST_ROWS, columns)
    yield from wrapped(f"{grid.title}: {_short(grid.least)} to {_short(grid.most)}", width)
    yield from map(painter.dim, wrapped(_axes_line(grid), width))
    if shows_numbers:
        titles = "".join(_cell(drawn.columns.label(n)) for n in range(drawn.columns.size))
        yield painter.dim(_label("") + titles.rstrip())
    else:
        yield painter.dim(_label("") + _ruler(drawn.columns, _bin_width(grid.columns.size, columns)))
    for row in range(drawn.rows.size):
        values = drawn.row(row)
        if shows_numbers:
            shown = "".join(_cell(f"{glyph(drawn, value)} {_short(value)}") for value in values).rstrip()
        else:
            shown = "".join(glyph(drawn, value) for value in values).rstrip()
        yield f"{_label(drawn.rows.label(row))}{shown}"
    yield from map(painter.dim, wrapped(_legend(grid, drawn), width))


def _axes_line(grid: Grid) -> str:
    down, across = (f"{axis.letter} {axis.size:,} {axis.name}" for axis in (grid.rows, grid.columns))
    return f"down: {down} · across: {across}"


def _label(text: str) -> str:
    """In the column of labels, at its right end."""
    shown = cut(text, _LABEL_CELLS)
    return " " * (_LABEL_CELLS - cells_of(shown)) + shown + " "


def _cell(text: str) -> str:
    shown = cut(text, _NUMBER_CELLS - 1)
    return shown + " " * (_NUMBER_CELLS - cells_of(shown))


def _bin_width(size: int, most: int) -> int:
    start, stop = bins(size, most)[0]
    return stop - start


def _ruler(axis: Axis, per_cell: int) -> str:
    """Numbers of columns, every ten cells."""
    marks = (str(n * per_cell).ljust(10) for n in range(0, axis.size, 10))
    return "".join(marks)[: max(axis.size, 1)].rstrip()


def _legend(grid: Grid, drawn: Grid) -> str:
    """Which character stands for what, and how many numbers one stands for."""
    if grid.kind == "share":
        said = "  ".join(f"{shade} {value:.0%}" for shade, value in thresholds(grid))
    else:
        full = _short(drawn.full)
        said = f"-{full} {NEGATIVE[:0:-1]} 0 {POSITIVE[1:]} {full}"
    if -math.inf in grid.values:
        said += f"  {CUT} -∞"
    rows, columns = (
        -(-whole.size // part.size)
        for whole, part in ((grid.rows, drawn.rows), (grid.columns, drawn.columns))
    )
    if rows * columns > 1:
        said += (
            f"; each is the strongest of {rows} × {columns}"
            if rows > 1
            else f"; each is the strongest of {columns}"
        )
    return said


def _short(value: float) -> str:
    """A number in five letters, where it fits."""
    if value == -math.inf:
        return "-∞"
    size = abs(value)
    return f"{value:,.{0 if size >= 1000 else 1 if size >= 10 else 2}f}"


# --- arrows, bars, tables -------------------------------------------------------------------------------


def _arrow_lines(arrows: Sequence[Arrow], width: int) -> Iterator[str]:
    """Pictures side by side, as many as fit, with their pairs and angles below."""
    cell = ARROW_CELLS + 2
    shown = arrows[: max(1, width // cell)]
    yield from wrapped(
        "Pairs of the query: dotted before, whole after they were turned (counter-clockwise)", width
    )
    yield from (line.rstrip() for line in arrow_strip(shown))
    yield "".join(f"pair {arrow.pair}".ljust(cell) for arrow in shown).rstrip()
    yield "".join(f"{arrow.degrees:.4g}°".ljust(cell) for arrow in shown).rstrip()


def _bar_lines(bars: Bars, painter: Painter, width: int) -> Iterator[str]:
    yield bars.title
    room = min(_BAR_CELLS, width - _LABEL_CELLS - 14)
    largest = bars.largest
    for bar in bars.bars:
        yield f"{_label(bar.label)}{_bar(bar.value / largest, room)} {painter.dim(bar.text)}"


def _bar(share: float, cells: int) -> str:
    whole, eighths = divmod(round(max(share, 0) * cells * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def _table_lines(table: Table, painter: Painter, width: int | None) -> Iterator[str]:
    """The first and the last rows, where there are many."""
    rows: list[Sequence[Cell]] = list(table.rows)
    if len(rows) > _MOST_ROWS + 8:
        left_out = len(rows) - _MOST_ROWS
        rows = [*rows[:_FIRST_ROWS], ("…", f"{left_out:,} more"), *rows[_FIRST_ROWS - _MOST_ROWS :]]
    texts = [tuple(map(cell_text, row)) for row in rows]
    columns = [
        Column(title, _is_numeric(table.rows, n), shrinks=True, goes=len(table.columns) - n if n > 2 else 0)
        for n, title in enumerate(table.columns)
    ]
    yield from wrapped(table.title, width or WIDTH)
    yield from table_lines(columns, texts, painter=painter, width=width)


def _is_numeric(rows: Sequence[Sequence[Cell]], n: int) -> bool:
    return all(set(cell_text(row[n])) <= _NO_LETTERS for row in rows)
