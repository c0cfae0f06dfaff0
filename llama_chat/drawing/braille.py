"""Lines and circles in braille: eight dots a character."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llama_chat.drawing.views import Arrow

_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""By row and column of a character's dots (Unicode's block of braille patterns)."""

ARROW_CELLS = 10
ARROW_ROWS = 5


class Canvas:
    """Dots, two to the right and four down in each character."""

    def __init__(self, cells: int, rows: int) -> None:
        self.width, self.height = 2 * cells, 4 * rows
        self._cells = [[_BLANK] * cells for _ in range(rows)]

    def dot(self, x: float, y: float) -> None:
        """Set the dot that is nearest; outside is nothing."""
        column, row = round(x), round(y)
        if 0 <= column < self.width and 0 <= row < self.height:
            self._cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]

    def line(self, start: tuple[float, float], end: tuple[float, float], *, every: int = 1) -> None:
        """A straight line; dotted, where not every dot of it is set."""
        steps = max(1, math.ceil(max(abs(end[0] - start[0]), abs(end[1] - start[1]))))
        for n in range(0, steps + 1, every):
            part = n / steps
            self.dot(start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part)

    def lines(self) -> list[str]:
        """The characters."""
        return ["".join(map(chr, row)) for row in self._cells]


def arrow_lines(arrow: Arrow, cells: int = ARROW_CELLS, rows: int = ARROW_ROWS) -> list[str]:
    """A picture of the turn, counter-clockwise: where the pair pointed (dotted) and points now (with a head).

    Both have the same length, as RoPE leaves it, which is that of the picture.
    """
    canvas = Canvas(cells, rows)
    middle = ((canvas.width - 1) / 2, (canvas.height - 1) / 2)
    radius = min(middle)
    before, after = direction(arrow.before), direction(arrow.after)
    canvas.line(middle, _at(middle, before, radius), every=3)
    tip = _at(middle, after, radius)
    canvas.line(middle, tip)
    for side in (2.6, -2.6):  # radians from the direction: the two strokes of the head
        canvas.line(tip, _at(tip, after + side, radius * 0.42))
    return canvas.lines()


def arrow_strip(arrows: Sequence[Arrow], gap: str = "  ") -> list[str]:
    """The pictures side by side."""
    return [gap.join(row) for row in zip(*map(arrow_lines, arrows), strict=True)]


def direction(pair: tuple[float, float]) -> float:
    """The angle of the pair as a point in the plane, in radians."""
    return math.atan2(pair[1], pair[0])


def _at(start: tuple[float, float], angle: float, length: float) -> tuple[float, float]:
    """That far away; y grows downwards on a screen."""
    return start[0] + length * math.cos(angle), start[1] - length * math.sin(angle)
