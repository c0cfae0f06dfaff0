"""What there is to see of a step, each as lines: heat maps, arrows, bars, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.cells import cell_len
from textual.content import Content

from llama_chat.drawing.braille import ARROW_CELLS, arrow_lines
from llama_chat.drawing.svg import cell_text
from llama_chat.drawing.views import Arrow, Bars, Grid, StepView, Table
from llama_chat.sanitize import one_line
from llama_chat.ui.widgets.fitting import cut

_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_LABEL = 16
_MOST_ARROW = 24
_NUMBERS = set("+-.,°%() 0123456789∞<")
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Arrows:
    """The pairs that RoPE turned."""

    arrows: tuple[Arrow, ...]
    title: str = "pairs of the query, before (dotted) and after the turn"


Picture: TypeAlias = Grid | Arrows | Bars | Table


def pictures_of(view: StepView) -> tuple[Picture, ...]:
    """In the order in which they are looked at."""
    arrows = (Arrows(view.arrows),) if view.arrows else ()
    return (*arrows, *view.bars, *view.grids, *view.tables)


def kind_of(picture: Picture) -> str:
    """What it is, in a word or two."""
    if isinstance(picture, Grid):
        return "heat map"
    return "arrows" if isinstance(picture, Arrows) else "bars" if isinstance(picture, Bars) else "table"


def lines_of(picture: Arrows | Bars | Table, width: int, height: int) -> list[Content]:
    """All of its lines; tables may be wider than there is room."""
    if isinstance(picture, Arrows):
        return list(_arrow_lines(picture.arrows, width, height))
    return _bar_lines(picture, width) if isinstance(picture, Bars) else _table_lines(picture)


def _arrow_lines(arrows: Sequence[Arrow], width: int, height: int) -> Iterator[Content]:
    per_row, cells = _arrow_layout(len(arrows), width, height)
    for start in range(0, len(arrows), per_row):
        some = arrows[start : start + per_row]
        if start:
            yield Content("")
        names = (f"pair {arrow.pair}".center(cells) for arrow in some)
        yield Content.styled(_GAP.join(names).rstrip(), "meta")
        pictures = (arrow_lines(arrow, cells, cells // 2) for arrow in some)
        for row in zip(*pictures, strict=True):
            yield Content.styled(_GAP.join(row), "map.arrow")
        turned = (f"{arrow.degrees:,.4g}°".center(cells) for arrow in some)
        yield Content(_GAP.join(turned).rstrip())


def _arrow_layout(count: int, width: int, height: int) -> tuple[int, int]:
    """How many stand side by side, and their width: as large as there is room for, else small."""
    best = (max(1, (width + len(_GAP)) // (ARROW_CELLS + len(_GAP))), ARROW_CELLS)
    for per_row in range(1, count + 1):
        cells = min(((width + len(_GAP)) // per_row - len(_GAP)) // 2 * 2, _MOST_ARROW)
        rows = -(-count // per_row)
        if cells > best[1] and rows * (cells // 2 + 3) - 1 <= height:
            best = (per_row, cells)
    return best


def _bar_lines(bars: Bars, width: int) -> list[Content]:
    label_cells = min(_MOST_LABEL, max(cell_len(one_line(bar.label)) for bar in bars.bars))
    text_cells = max(len(bar.text) for bar in bars.bars)
    room = max(4, min(60, width - label_cells - text_cells - 3))
    lines = []
    for place, bar in enumerate(bars.bars):
        label = cut(one_line(bar.label), label_cells)
        gap = " " * (label_cells - cell_len(label))
        blocks = _blocks(max(bar.value, 0.0) / bars.largest * room)
        lines.append(
            Content.assemble(
                (gap + label, "strong" if place == 0 else ""),
                " ",
                (blocks.ljust(room), "map.bar"),
                " ",
                (bar.text.rjust(text_cells), "" if place == 0 else "meta"),
            )
        )
    return lines


def _blocks(eighths: float) -> str:
    whole, part = divmod(round(eighths * 8), 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def _table_lines(table: Table) -> list[Content]:
    rows = [tuple(_one_line(cell_text(cell)) for cell in row) for row in table.rows]
    widths = [
        max(cell_len(cell) for cell in (title, *(row[n] for row in rows)))
        for n, title in enumerate(table.columns)
    ]
    at_right = [all(set(row[n]) <= _NUMBERS for row in rows) for n in range(len(widths))]

    def line(cells: Sequence[str], style: str) -> Content:
        parts = (
            _fill(cell, width, at_right=right)
            for cell, width, right in zip(cells, widths, at_right, strict=True)
        )
        return Content.styled(_GAP.join(parts).rstrip(), style)

    return [line(table.columns, "meta"), *(line(row, "") for row in rows)]


def _one_line(text: str) -> str:
    """The text safe and in one line; spaces at its front stay, where numbers are aligned by them."""
    return " " * (len(text) - len(text.lstrip(" "))) + one_line(text)


def _fill(text: str, width: int, *, at_right: bool) -> str:
    gap = " " * (width - cell_len(text))
    return gap + text if at_right else text + gap
