"""Text selection by rows that keep their names while heights above them change."""

from __future__ import annotations

from collections.abc import Iterable
from pickle import dumps

from rich.cells import split_graphemes
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.selection import Selection
from textual.strip import Strip

from llama_chat.ui.transcript.rows import Row

# Textual remembers both ends of a selection as (column, line) of the widget's content. Lines counted from the
# top would slip when a height above becomes exact, so a line is named by its entry and its row in it.
_ROW_BITS = 20


def name_row(entry: int, row: int) -> int:
    """The number that stands for a row; in the order of the rows."""
    return entry << _ROW_BITS | row


def with_places(strip: Strip, row_name: int) -> Strip:
    """The strip with the place of its characters in each segment, by which Textual knows what is selected.

    As `Strip.apply_offsets` does it, which adds two styles for each segment and so takes 68 µs for a line
    where this takes 28 (2026-11-22).
    """
    segments: list[Segment] = []
    column = 0
    for text, style, control in strip:
        meta = {"offset": (column, row_name)}
        if style:
            placed = style.copy()
            placed._meta, placed._hash = dumps(meta), None
        else:
            placed = RichStyle.from_meta(meta)
        segments.append(Segment(text, placed, control))
        column += len(text)
    return Strip(segments, strip.cell_length)


def highlight(strip: Strip, row: Row, text_start: int, span: tuple[int, int], style: RichStyle) -> Strip:
    """The strip with a part of its text in the style, over what it has; `span` counts its characters."""
    start, end = span
    text_end = text_start + len(row.line.content)
    start = max(start, text_start)
    end = text_end if end < 0 else min(end, text_end)
    if start >= end:
        return strip
    segments: list[Segment] = []
    at = 0
    for segment in strip:
        length = len(segment.text)
        first, last = _whole_characters(segment.text, start - at, end - at)
        at += length
        if first >= last:
            segments.append(segment)
            continue
        text, old, control = segment
        new = style if old is None else old + style  # over it: `Strip.apply_style` lays it under, unseen
        parts = ((text[:first], old), (text[first:last], new), (text[last:], old))
        segments += [Segment(part, each, control) for part, each in parts if part]
    return Strip(segments, strip.cell_length)


def _whole_characters(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of the text without half a cluster at its ends: two halves of an emoji are wider than it."""
    start, end = max(0, start), min(len(text), end)
    if start >= end or text.isascii():
        return start, end
    for first, after, _ in split_graphemes(text)[0]:
        if first < start < after:
            start = first
        if first < end < after:
            end = after
    return start, end


def copy_rows(rows: Iterable[tuple[int, int, Row]], selection: Selection) -> str:
    """The selected text: no bars, no edges, and lines whole again that only the width had parted.

    Args:
        rows: name, characters before the text, and the row, from the first to the last that is selected.
        selection: what is selected.
    """
    parts: list[str] = []
    for name, text_start, row in rows:
        span = selection.get_span(name)
        if span is None:
            continue
        start, end = span
        text = row.line.content.plain
        piece = text[max(0, start - text_start) : None if end < 0 else max(0, end - text_start)]
        if parts:
            parts.append("\n" if row.line.joint is None else row.line.joint)
        parts.append(piece)
    return "".join(parts).strip("\n")
