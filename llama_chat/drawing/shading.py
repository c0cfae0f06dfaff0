"""From numbers to shades: characters, colours, and fewer cells where there is no room for all."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace

from llama_chat.drawing.views import Axis, Grid, GridKind

CUT = "×"
"""What the mask has cut."""
POSITIVE = " ░▒▓█"
NEGATIVE = " -~=≡"
_STEPS = len(POSITIVE) - 1

# Both are told apart with any colour vision: white to dark blue, and orange over white to blue (ColorBrewer's
# PuOr and Blues, a little darker at the ends).
_SHARE = ((255, 255, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 40, 95))
_SIGNED = (
    (127, 59, 8),
    (224, 130, 20),
    (253, 224, 182),
    (255, 255, 255),
    (190, 215, 240),
    (50, 120, 190),
    (8, 40, 95),
)
CUT_COLOUR = "#d9d9d9"


def strength(grid: Grid, value: float) -> float:
    """How strong a number is drawn: -1 to 1 for signed ones, 0 to 1 for shares.

    Shares go by their square root: most are small, and a hundredth should be told from nothing.
    """
    if grid.kind == "share":
        return math.sqrt(min(max(value, 0.0), 1.0))
    return min(max(value / grid.full, -1.0), 1.0)


def glyph(grid: Grid, value: float) -> str:
    """One character for a number: ░▒▓█ above zero, minus signs below."""
    if value == -math.inf:
        return CUT
    strong = strength(grid, value)
    level = round(abs(strong) * _STEPS)
    return (POSITIVE if strong >= 0 else NEGATIVE)[level]


def thresholds(grid: Grid) -> list[tuple[str, float]]:
    """By character, the number that it stands for, the lowest first; nothing is drawn around zero."""
    if grid.kind == "share":
        return [(POSITIVE[n], (n / _STEPS) ** 2) for n in range(1, _STEPS + 1)]
    below = [(NEGATIVE[n], -grid.full * n / _STEPS) for n in range(_STEPS, 0, -1)]
    return [*below, *((POSITIVE[n], grid.full * n / _STEPS) for n in range(1, _STEPS + 1))]


def colour(grid: Grid, value: float) -> str:
    """The background of a number, `#rrggbb`."""
    if value == -math.inf:
        return CUT_COLOUR
    return shade_colour(grid.kind, strength(grid, value))


def shade_colour(kind: GridKind, strong: float) -> str:
    """The colour of a strength."""
    stops, at = (_SHARE, strong) if kind == "share" else (_SIGNED, (strong + 1) / 2)
    place = at * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    part = place - low
    mixed = (round(a + (b - a) * part) for a, b in zip(stops[low], stops[low + 1], strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def is_dark(grid: Grid, value: float) -> bool:
    """Whether letters on the number's colour are white."""
    return value > -math.inf and abs(strength(grid, value)) > 0.6


def pooled(grid: Grid, rows: int, columns: int) -> Grid:
    """The grid with that many rows and columns at most; a cell is the strongest of the numbers it stands for.

    It is named after the first of its rows and columns.
    """
    row_bins, column_bins = bins(grid.rows.size, rows), bins(grid.columns.size, columns)
    if len(row_bins) == grid.rows.size and len(column_bins) == grid.columns.size:
        return grid
    values = array("f")
    for start, stop in row_bins:
        lines = [grid.row(n) for n in range(start, stop)]
        values.extend(strongest([line[a:b] for line in lines]) for a, b in column_bins)
    return replace(
        grid,
        values=values,
        coarser=(),
        full=grid.full if grid.kind == "share" else _usual_size(values, len(column_bins)) or grid.full,
        rows=_pooled_axis(grid.rows, row_bins),
        columns=_pooled_axis(grid.columns, column_bins),
    )


def _usual_size(values: array[float], columns: int) -> float:
    """The size that most numbers of most rows do not exceed: those of pooled cells are larger than others."""
    of_rows = []
    for start in range(0, len(values), columns):
        sizes = sorted(abs(value) for value in values[start : start + columns] if value > -math.inf)
        of_rows.append(sizes[int(len(sizes) * 0.97)] if sizes else 0.0)
    return sorted(of_rows)[len(of_rows) // 2]


def bins(size: int, most: int) -> list[tuple[int, int]]:
    """The size in equal parts, `most` at most, the last one perhaps smaller."""
    width = -(-size // max(most, 1))
    return [(at, min(at + width, size)) for at in range(0, size, width)]


def strongest(parts: Sequence[array[float]]) -> float:
    """The number that is furthest from zero; -inf only where there is nothing else."""
    high, low = max(map(max, parts)), min(map(min, parts))
    if low == -math.inf:
        low = min((value for part in parts for value in part if value > -math.inf), default=low)
    return high if low == -math.inf or high >= -low else low


def _pooled_axis(axis: Axis, parts: Sequence[tuple[int, int]]) -> Axis:
    return Axis(axis.letter, len(parts), tuple(axis.label(start) for start, _ in parts))
