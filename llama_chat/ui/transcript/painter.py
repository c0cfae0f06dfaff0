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
    """Paints rows for one theme, background and width."""

    def __init__(self, palette: Palette, base: Style, column: Column) -> None:
        self.column = column
        self._palette = palette
        self._base = base
        self._blank = base.rich_style

    def paint(self, row: Row) -> Strip:
        """The strip of a row."""
        line, bar = row
        left = Content(" " * self.column.left) + (
            Content.styled(BAR, bar) if bar else Content(" " * len(BAR))
        )
        segments = self._segments(left, self._base)
        base = self._base + self._palette.style(line.fill) if line.fill else self._base
        segments += self._segments(line.prefix, base)
        segments += self._segments(line.content, base)
        strip = Strip(segments)
        if line.fill:
            right = self.column.left + len(BAR) + self.column.text_width
            strip = strip.adjust_cell_length(right, base.rich_style)
        return strip.adjust_cell_length(self.column.view_width, self._blank)

    def label(self, text: str, style: str) -> Strip:
        """A strip of the program's own words, as wide as they are."""
        return Strip(self._segments(Content.styled(text, style), self._base))

    def highlight(self, name: str) -> RichStyle:
        """What a style of the palette lays over a text: its background and its line."""
        style = (self._base + self._palette.style(name)).rich_style
        return RichStyle(bgcolor=style.bgcolor, underline=style.underline)

    def blank(self) -> Strip:
        """A strip with nothing on it."""
        return Strip.blank(self.column.view_width, self._blank)

    def text_start(self, row: Row) -> int:
        """Characters of the row's strip before the text that can be copied."""
        return self.column.left + len(BAR) + len(row.line.prefix)

    def _segments(self, content: Content, base: Style) -> list[Segment]:
        if not content:
            return []
        parts = content.render(base, end="", parse_style=self._palette.style)
        return [Segment(text, style.rich_style) for text, style in parts]
