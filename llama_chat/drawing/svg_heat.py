"""Heat maps as SVG: named axes, labelled tokens, numbers where there is room for them."""

from __future__ import annotations

import math
from html import escape

from llama_chat.drawing.png import png_data_uri
from llama_chat.drawing.shading import colour, is_dark, pooled
from llama_chat.drawing.svg_page import FAINT, INK, LETTER, MARGIN, WIDTH, Page, cut, element, text
from llama_chat.drawing.views import Axis, Grid

_LABEL_LETTERS = 16
_MOST_RECTANGLES = 4096  # beyond, the cells are pixels of an image
_MOST_PIXELS = 1000  # of an image's side
_MOST_CELL, _MOST_LINE, _LABELLED_CELL = 44, 22, 13
_MOST_HEIGHT = 620


def draw_grid(page: Page, grid: Grid) -> None:
    """Title, axes, cells; a cell is the strongest of several numbers where there are too many."""
    page.heading(f"{grid.title}: {grid.least:.3g} to {grid.most:.3g}")
    drawn = pooled(grid, _MOST_PIXELS, _MOST_PIXELS)
    left = MARGIN + _label_width(drawn.rows)
    width = min(_MOST_CELL, (WIDTH - MARGIN - left) / drawn.columns.size)
    highest = _MOST_CELL if drawn.columns.labels else _MOST_LINE
    height = min(highest, _MOST_HEIGHT / drawn.rows.size, max(width, 8))
    axes = f"across: {grid.columns.letter}, {grid.columns.name} · down: {grid.rows.letter}, {grid.rows.name}"
    page.add(text(left, page.y + 6, axes, font_size=11, fill=FAINT))
    page.y += 12
    if drawn.columns.labels and width >= _LABELLED_CELL:
        _draw_column_labels(page, drawn.columns, left, width)
    if drawn.rows.size * drawn.columns.size <= _MOST_RECTANGLES:
        _draw_cells(page, drawn, left, width, height)
    else:
        _draw_image(page, drawn, left, width, height)
    _draw_row_labels(page, drawn.rows, left, height)
    page.y += height * drawn.rows.size


def _label_width(axis: Axis) -> float:
    longest = max(map(len, axis.labels), default=len(str(axis.size)))
    return (min(longest, _LABEL_LETTERS) + 1) * LETTER


def _draw_column_labels(page: Page, axis: Axis, left: float, width: float) -> None:
    page.y += min(_LABEL_LETTERS, max(map(len, axis.labels))) * LETTER * 0.72 + 4
    for n in range(axis.size):
        x, y = left + (n + 0.5) * width, page.y - 4
        turn = f"rotate(-45 {x:.1f} {y:.1f})"
        page.add(text(x, y, cut(axis.label(n), _LABEL_LETTERS), transform=turn))


def _draw_row_labels(page: Page, axis: Axis, left: float, height: float) -> None:
    size = min(12, max(height, 9))
    for n in range(0, axis.size, max(1, math.ceil(11 / height))):
        y = page.y + (n + 0.5) * height + 4
        label = cut(axis.label(n), _LABEL_LETTERS)
        page.add(text(left - 5, y, label, font_size=size, text_anchor="end"))


def _draw_image(page: Page, grid: Grid, left: float, width: float, height: float) -> None:
    page.add(
        element(
            "image",
            x=left,
            y=page.y,
            width=width * grid.columns.size,
            height=height * grid.rows.size,
            preserveAspectRatio="none",
            style="image-rendering:pixelated",
            href=png_data_uri(grid),
        )
    )


def _draw_cells(page: Page, grid: Grid, left: float, width: float, height: float) -> None:
    edge: dict[str, str | float] = {"stroke": "white", "stroke_width": 0.5} if width > 5 else {}
    shows_numbers = width >= 36 and height >= 14
    for row in range(grid.rows.size):
        for column in range(grid.columns.size):
            value = grid.value(row, column)
            x, y = left + column * width, page.y + row * height
            told = f"{grid.rows.label(row)} × {grid.columns.label(column)}: {_number(value, 4)}"
            hint, fill = element("title", escape(told)), colour(grid, value)
            page.add(element("rect", hint, x=x, y=y, width=width, height=height, fill=fill, **edge))
            if shows_numbers:
                ink = "white" if is_dark(grid, value) else INK
                at = x + width / 2, y + height / 2 + 4
                page.add(text(*at, _number(value, 2), fill=ink, font_size=11, text_anchor="middle"))


def _number(value: float, digits: int) -> str:
    return "-∞" if value == -math.inf else f"{value:.{digits}f}"
