"""Pictures of steps as SVG: words, heat maps, arrows, bars, tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from llama_chat.drawing.braille import direction
from llama_chat.drawing.svg_heat import draw_grid
from llama_chat.drawing.svg_page import (
    ACCENT,
    BEFORE,
    FAINT,
    INK,
    LETTER,
    LINE,
    MARGIN,
    RING,
    ROOM,
    Page,
    cut,
    element,
    text,
    wrapped,
)
from llama_chat.drawing.views import Arrow, Bars, Cell, StepView, Table, WalkFacts

_LABEL_LETTERS = 16
_MOST_TABLE_ROWS = 64


def step_svg(view: StepView, facts: WalkFacts) -> str:
    """The whole picture of a step: title, words, shapes, and what there is to see."""
    page = Page()
    page.line(step_title(view, facts), font_size=16, weight="bold")
    altered = f", altered: {facts.altered}" if facts.altered else ""
    page.line(f"{facts.model}, {facts.dtype} on {facts.device}{altered}", fill=FAINT)
    page.line(view.step.formula, fill=ACCENT)
    letters = int(ROOM / LETTER)
    for line in wrapped("   ".join(f"{shape.name} {shape.text}" for shape in view.shapes), letters):
        page.line(line, fill=FAINT)
    page.y += 4
    for sentence in view.sentences:
        for line in wrapped(sentence, letters):
            page.line(line)
    _draw_pictures(page, view)
    return page.document()


def pictures_svg(view: StepView) -> str:
    """What there is to see alone, for a page that has the words; empty where there is nothing."""
    page = Page(y=0)
    _draw_pictures(page, view)
    return page.document() if page.parts else ""


def step_title(view: StepView, facts: WalkFacts) -> str:
    """`4. Queries of one head · layer 1 of 30 · head 1 of 9`."""
    where = [f"layer {view.layer + 1} of {facts.size('L')}"] if view.layer is not None else []
    where += [f"head {view.head + 1} of {facts.size('H')}"] if view.head is not None else []
    number = f"{view.number}. " if view.number else ""
    return " · ".join((f"{number}{view.step.title}", *where))


def cell_text(cell: Cell) -> str:
    """A cell of a table as it is shown."""
    return cell if isinstance(cell, str) else f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}"


def _draw_pictures(page: Page, view: StepView) -> None:
    if view.arrows:
        _draw_arrows(page, view.arrows)
    for grid in view.grids:
        draw_grid(page, grid)
    for bars in view.bars:
        _draw_bars(page, bars)
    for table in view.tables:
        _draw_table(page, table)


def _draw_arrows(page: Page, arrows: Sequence[Arrow]) -> None:
    page.heading("Pairs of the query: before (dashed) and after they were turned, counter-clockwise")
    step = min(150.0, ROOM / len(arrows))
    radius = step / 2 - 14
    y = page.y + radius + 4
    for n, arrow in enumerate(arrows):
        x = MARGIN + (n + 0.5) * step
        page.add(element("circle", cx=x, cy=y, r=radius, fill="none", stroke=RING))
        page.add(*_arrow(x, y, radius, direction(arrow.before), BEFORE, "4 3"))
        page.add(*_arrow(x, y, radius, direction(arrow.after), ACCENT, "none"))
        below = f"pair {arrow.pair}: {arrow.degrees:.4g}°"
        page.add(text(x, y + radius + 16, below, font_size=11, text_anchor="middle"))
    page.y = y + radius + 20


def _arrow(x: float, y: float, length: float, angle: float, stroke: str, dashes: str) -> tuple[str, str]:
    tip_x, tip_y = x + length * math.cos(angle), y - length * math.sin(angle)
    left, right = (
        f"{tip_x + 9 * math.cos(angle + turn):.1f},{tip_y - 9 * math.sin(angle + turn):.1f}"
        for turn in (2.7, -2.7)
    )
    head = f"{left} {tip_x:.1f},{tip_y:.1f} {right}"
    return (
        element(
            "line", x1=x, y1=y, x2=tip_x, y2=tip_y, stroke=stroke, stroke_width=2, stroke_dasharray=dashes
        ),
        element("polyline", points=head, fill="none", stroke=stroke, stroke_width=2),
    )


def _draw_bars(page: Page, bars: Bars) -> None:
    page.heading(bars.title)
    left = MARGIN + (_LABEL_LETTERS + 1) * LETTER
    room = MARGIN + ROOM - left - 9 * LETTER
    for bar in bars.bars:
        page.y += LINE
        width = room * max(bar.value, 0) / bars.largest
        page.add(text(left - 6, page.y, cut(bar.label, _LABEL_LETTERS), text_anchor="end"))
        page.add(element("rect", x=left, y=page.y - 11, width=width, height=14, fill=ACCENT))
        page.add(text(left + width + 6, page.y, bar.text, fill=FAINT))


def _draw_table(page: Page, table: Table) -> None:
    page.heading(table.title)
    rows = [table.columns, *(tuple(map(cell_text, row)) for row in table.rows[:_MOST_TABLE_ROWS])]
    most = max(8, int(ROOM / LETTER) // len(table.columns) - 2)
    widths = [min(max(len(row[n]) for row in rows), most) + 2 for n in range(len(table.columns))]
    starts = [MARGIN + at * LETTER for at in accumulate(widths, initial=0)]
    for number, row in enumerate(rows):
        page.y += LINE
        for n, words in enumerate(row):
            page.add(text(starts[n], page.y, cut(words, widths[n]), fill=INK if number else FAINT))
    if len(table.rows) > _MOST_TABLE_ROWS:
        page.line(f"… and {len(table.rows) - _MOST_TABLE_ROWS:,} more", fill=FAINT)
