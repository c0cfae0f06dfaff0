"""The text of a walk as its tokens in one line: which is looked from, and which heads are looked for by."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.strip import Strip
from textual.widget import Widget

from llama_chat.sanitize import one_line
from llama_chat.ui.palette import Palette
from llama_chat.ui.widgets.fitting import cut

_MOST_CELLS = 24
_NEXT = " ▸ ?"


class TokenLine(Widget, can_focus=True):
    """One line; while it has the keyboard, ← and → mark a token, and Enter walks from there."""

    DEFAULT_CSS = """
    TokenLine { height: 1; background: transparent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "mark(-1)", "Token before", show=False),
        Binding("right", "mark(1)", "Next token", show=False),
        Binding("home", "mark(-100000)", "First token", show=False),
        Binding("end", "mark(100000)", "Last token", show=False),
        Binding("enter", "take", "Walk from here", show=False),
    ]

    class Marked(TextualMessage):
        """Another token is marked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    class Taken(TextualMessage):
        """The walk shall begin at this token."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self) -> None:
        super().__init__()
        self._given: tuple[str, ...] = ()
        self._labels: tuple[str, ...] = ()
        self._position = 0
        self.marked = 0
        """While it has the keyboard: the token under its cursor; else the one that is looked at."""
        self._palette: Palette | None = None

    def show(self, labels: tuple[str, ...], position: int, marked: int) -> None:
        """Show these tokens."""
        if labels is not self._given:
            self._given, self._labels = labels, tuple(map(one_line, labels))
        self._position, self.marked = position, marked
        self.refresh()

    def action_mark(self, by: int) -> None:
        """Mark another token."""
        if self._labels:
            self.marked = min(max(self.marked + by, 0), len(self._labels) - 1)
            self.refresh()
            self.post_message(self.Marked(self.marked))

    def action_take(self) -> None:
        """Walk from the marked token."""
        if self._labels:
            self.post_message(self.Taken(self.marked))

    def on_click(self, event: events.Click) -> None:
        """Mark the token under the mouse."""
        x = 1
        for place in self._seen():
            x += self._cells(place)
            if event.x < x:
                self.action_mark(place - self.marked)
                return

    # --- drawing ----------------------------------------------------------------------------------------

    def _cells(self, place: int) -> int:
        return min(cell_len(self._labels[place]), _MOST_CELLS) + 1

    def _seen(self) -> range:
        """The tokens that there is room for: those that end with the position, or around the marked one."""
        if not self._labels:
            return range(0)
        room = self.size.width - 2 - len(_NEXT)
        last = self.marked if self.has_focus else self._position
        last = min(last + (3 if self.has_focus else 0), len(self._labels) - 1)
        first, used = last, self._cells(last)
        while first > 0 and used + self._cells(first - 1) <= room:
            first -= 1
            used += self._cells(first)
        while last < len(self._labels) - 1 and used + self._cells(last + 1) <= room:
            last += 1
            used += self._cells(last)
        return range(first, last + 1)

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._palette = None
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """The line."""
        width, base = self.size.width, self.visual_style
        palette = self._palette = self._palette or Palette(self.app.theme_variables)
        parts = self._content().render(base, end="", parse_style=palette.style) if y == 0 else []
        strip = Strip([Segment(text, style.rich_style) for text, style in parts])
        return strip.adjust_cell_length(width, base.rich_style)

    def _content(self) -> Content:
        seen = self._seen()
        parts: list[Content | tuple[str, str]] = [("…" if seen and seen[0] > 0 else " ", "meta")]
        for place in seen:
            label = cut(self._labels[place], _MOST_CELLS)
            parts.append((label, self._style_of(place)))
            parts.append((_NEXT + " " if place == self._position else " ", "marker"))
        if seen and seen[-1] < len(self._labels) - 1:
            parts.append(("…", "meta"))
        return Content.assemble(*parts)

    def _style_of(self, place: int) -> str:
        if place == self.marked and self.has_focus:
            return "bar.chosen"
        if place == self._position:
            return "heading.2"
        if place > self._position:
            return "meta"
        return "link" if place == self.marked else ""
