"""Labels with a value each, whose values go on in further lines where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llama_chat.cli.tables import GAP, anywhere, cells_of, cut, pictured_line

_LEAST_VALUE = 24
_LEAST_LABEL = 12

AT_ITEMS = (", ", GAP, " ", ",")
"""Behind which a value goes on in the next line: the first of them that leaves no line nearly empty."""
AT_BARS = ("|", ", ")
"""The same for a regular expression, in which spaces mean something."""


class Pair(NamedTuple):
    """A label and its value."""

    label: str
    text: str
    breaks: Sequence[str] = AT_ITEMS
    """Where the value may go on in the next line; nowhere: it is cut."""


def pair_lines(pairs: Sequence[Pair], width: int | None, indent: str) -> Iterator[str]:
    """The pairs in safe lines, the values below one another.

    Args:
        pairs: from top to bottom.
        width: of the terminal; None: every pair stands in one line.
        indent: stands before every line.
    """
    labels = max((cells_of(pictured_line(pair.label)) for pair in pairs), default=0)
    room = None
    if width:
        most = width - cells_of(indent + GAP)
        labels = min(labels, max(_LEAST_LABEL, most - _LEAST_VALUE))
        room = max(1, most - labels)
    for pair in pairs:
        label, text = cut(pictured_line(pair.label), labels), pictured_line(pair.text)
        if room and not pair.breaks:
            text = cut(text, room)
        first, *rest = broken(text, room, pair.breaks) if room and pair.breaks else [text]
        yield (indent + label + " " * (labels - cells_of(label)) + GAP + first).rstrip()
        yield from (indent + " " * labels + GAP + line for line in rest)


def broken(text: str, cells: int, breaks: Sequence[str]) -> list[str]:
    """The text in lines of so many cells, each ending behind one of the breaks where there are any."""
    lines: list[str] = []
    while cells_of(text) > cells:
        at = _end_of_line(text, len(anywhere(text, cells)[0]), breaks)
        lines.append(text[:at].rstrip(" ") if " " in breaks else text[:at])
        text = text[at:].lstrip(" ") if " " in breaks else text[at:]
    return [*lines, text] if text or not lines else lines


def _end_of_line(text: str, most: int, breaks: Sequence[str]) -> int:
    """How many characters go into the line, of those that fit."""
    for mark in breaks:
        hanging = (
            len(mark) - len(mark.rstrip(" ")) if " " in breaks else 0
        )  # spaces that end a line are dropped
        at = text.rfind(mark, most // 3, most + hanging)
        if at > 0:
            return at + len(mark)
    return most
