"""Tables laid out within a width: wide columns give way first, and cells wrap."""

from __future__ import annotations

import re

from textual.content import Content

from llama_chat.markup.parser import Node
from llama_chat.ui.markdown.inline import render_inline
from llama_chat.ui.markdown.line import EMPTY, Line, wrap

MIN_COLUMN = 4
_GAP = 3  # " │ "
_CELL_BORDER = re.compile(r"(?<!\\)\|")


def render_table(table: Node, source: list[str], width: int) -> list[Line]:
    """The lines of a table; rows as plain text where its columns cannot fit."""
    rows = [row for part in table.children for row in part.children]
    cells = [_row_cells(row, source) for row in rows]
    widths = _column_widths(cells, width)
    if widths is None:
        lines: list[Line] = []
        for row in cells:
            lines.extend(wrap(Content(" | ").join(row), width))
        return lines
    alignments = [str(cell.token.attrs.get("style", "")).rpartition(":")[2] for cell in rows[0].children]
    head, *body = (_row_lines(row, widths, alignments) for row in cells)
    rule = Content.styled("─┼─".join("─" * column for column in widths), "table.line")
    lines = [line._replace(content=line.content.stylize("table.head")) for line in head]
    lines.append(Line(rule))
    for row_lines in body:
        lines.extend(row_lines)
    return lines


def _row_cells(row: Node, source: list[str]) -> list[Content]:
    """The texts of a row; cells beyond the last column, which the parser drops, join the last one."""
    texts = [cell.children[0].token.content if cell.children else "" for cell in row.children]
    written = _split_row(source[row.first_line]) if row.first_line < len(source) else []
    if len(written) > len(texts):
        texts[-1] = " | ".join(written[len(texts) - 1 :])
    return [Content(" ").join(render_inline(text).split("\n")) for text in texts]


def _split_row(line: str) -> list[str]:
    cells = _CELL_BORDER.split(line.strip())
    if cells and not cells[0].strip():
        cells = cells[1:]
    if cells and not cells[-1].strip():
        cells = cells[:-1]
    return [cell.strip() for cell in cells]


def _column_widths(rows: list[list[Content]], width: int) -> list[int] | None:
    """Cells for each column, taken from the widest until all fit; None when they cannot."""
    widths = [max(1, *(cell.cell_length for cell in column)) for column in zip(*rows, strict=True)]
    room = width - _GAP * (len(widths) - 1)
    if room < len(widths) * MIN_COLUMN and sum(widths) > room:
        return None
    while sum(widths) > room:
        widest = max(widths)
        others = [column for column in widths if column < widest]
        count = len(widths) - len(others)
        target = max(max(others, default=MIN_COLUMN), MIN_COLUMN, (room - sum(others)) // count)
        if target >= widest:
            target = widest - 1
        widths = [min(column, target) for column in widths]
    return widths


def _row_lines(row: list[Content], widths: list[int], alignments: list[str]) -> list[Line]:
    columns = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    bar = Content.styled(" │ ", "table.line")
    lines = []
    for number in range(max(len(column) for column in columns)):
        parts = [
            _align(column[number].content if number < len(column) else EMPTY, width, alignment)
            for column, width, alignment in zip(columns, widths, alignments, strict=True)
        ]
        lines.append(Line(bar.join(parts)))
    return lines


def _align(content: Content, width: int, alignment: str) -> Content:
    space = max(0, width - content.cell_length)
    left = space if alignment == "right" else space // 2 if alignment == "center" else 0
    return content.pad(left, space - left)
