"""The line above a code block: its language, and at the right its number and the sign that copies it."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from llama_chat.ui.markdown.code import COPY as COPY
from llama_chat.ui.markdown.line import Line

COPY_THOUGHT = "copy thought"
"""What a click on the head of a code block in a thought does; it has no number, as no key copies it."""
SIGN, SHORT_SIGN = "copy ⧉", "⧉"
STYLE, HOVERED_STYLE = "code.copy", "code.copy.hovered"


def is_code_head(line: Line) -> bool:
    """Whether it may have a sign."""
    return line.action in (COPY, COPY_THOUGHT)


def with_sign(line: Line, number: int | None, width: int) -> Line:
    """The head of a code block with its sign, as far as there is room in that many cells."""
    used = line.prefix.cell_length
    whole = SIGN if number is None else f"{number} · {SIGN}"
    for sign in (whole, SHORT_SIGN):
        space = width - 1 - used - cell_len(sign)
        if space >= 1:
            prefix = Content.assemble(line.prefix, " " * space, (sign, STYLE))
            return line._replace(prefix=prefix)
    return line


def sign_cells(line: Line) -> range:
    """The cells of the sign, counted from the beginning of the text; none where there is no sign."""
    spans = line.prefix.spans
    if not is_code_head(line) or not spans or spans[-1].style != STYLE:
        return range(0)
    start = cell_len(line.prefix.plain[: spans[-1].start])
    return range(start - 1, line.prefix.cell_length + 1)  # a mouse hand is not that sure


def hovered(line: Line) -> Line:
    """The head with its sign as it looks under the pointer."""
    *others, last = line.prefix.spans
    spans = [*others, last._replace(style=HOVERED_STYLE)]
    return line._replace(prefix=Content(line.prefix.plain, spans))
