"""Rows become strips: styles resolved, the bar set, every strip exactly as wide as the view."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content
from textual.strip import Strip
from textual.style import Style

from llama_chat.ui.palette import Palette
from llama_chat.ui.transcript.rows import BAR, Column, Row


class Painter:
    """Paints rows for one theme, background and width.

    It resolves each style once: mixing the styles of every span anew took half of the time (2026-11).
    """

    def __init__(self, palette: Palette, base: Style, column: Column) -> None:
        self.column = column
        self._palette = palette
        self._base = base
        self._blank = base.rich_style
        self._styles: dict[tuple[str, str], RichStyle] = {}
        self._lefts: dict[str, list[Segment]] = {}

    def paint(self, row: Row) -> Strip:
        """The strip of a row."""
        line, bar = row
        view_width = self.column.view_width
        segments = [
            *self._left(bar),
            *self._segments(line.prefix, line.fill),
            *self._segments(line.content, line.fill),
        ]
        used = sum(segment.cell_length for segment in segments)  # a cluster that is parted takes more
        if line.fill:
            right = self.column.left + len(BAR) + self.column.text_width
            strip = Strip(segments, used).adjust_cell_length(right, self._style(line.fill))
            return strip.adjust_cell_length(view_width, self._blank)
        if used < view_width:
            segments.append(Segment(" " * (view_width - used), self._blank))
            used = view_width
        return Strip(segments, used).adjust_cell_length(view_width, self._blank)

    def label(self, text: str, style: str) -> Strip:
        """A strip of the program's own words, as wide as they are."""
        return Strip([Segment(text, self._style("", style))])

    def highlight(self, name: str) -> RichStyle:
        """What a style of the palette lays over a text: its background and its line."""
        style = self._style("", name)
        return RichStyle(bgcolor=style.bgcolor, underline=style.underline)

    def blank(self) -> Strip:
        """A strip with nothing on it."""
        return Strip.blank(self.column.view_width, self._blank)

    def text_start(self, row: Row) -> int:
        """Characters of the row's strip before the text that can be copied."""
        return self.column.left + len(BAR) + len(row.line.prefix)

    def _left(self, bar: str) -> list[Segment]:
        """What stands left of the text."""
        known = self._lefts.get(bar)
        if known is None:
            space = Content(" " * self.column.left)
            mark = Content.styled(BAR, bar) if bar else Content(" " * len(BAR))
            known = self._lefts[bar] = self._segments(space + mark, "")
        return known

    def _style(self, fill: str, name: str = "") -> RichStyle:
        """The style of this name over that of the row."""
        found = self._styles.get((fill, name))
        if found is None:
            style = self._base_of(fill)
            found = (style + self._palette.style(name) if name else style).rich_style
            self._styles[fill, name] = found
        return found

    def _base_of(self, fill: str) -> Style:
        return self._base + self._palette.style(fill) if fill else self._base

    def _segments(self, content: Content, fill: str) -> list[Segment]:
        if not content:
            return []
        text, at = content.plain, 0
        segments: list[Segment] = []
        for start, end, style in content.spans:
            if start < at or end > len(text) or not isinstance(style, str):
                return self._mixed(content, fill)
            if start > at:
                segments.append(Segment(text[at:start], self._style(fill)))
            if end > start:
                segments.append(Segment(text[start:end], self._style(fill, style)))
            at = end
        if at < len(text):
            segments.append(Segment(text[at:], self._style(fill)))
        return segments

    def _mixed(self, content: Content, fill: str) -> list[Segment]:
        """Where spans lie over each other."""
        parts = content.render(self._base_of(fill), end="", parse_style=self._palette.style)
        return [Segment(text, style.rich_style) for text, style in parts]
