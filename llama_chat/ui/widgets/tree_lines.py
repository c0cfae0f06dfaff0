"""The tree of a conversation as lines that it draws itself, with a cursor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message as TextualMessage
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llama_chat.chat.branches.tree import TreeRow, facts, first_words, speaker
from llama_chat.ui.palette import Palette
from llama_chat.ui.widgets.two_ends import TwoEnds

SPEAKER_CELLS = len("system ")
FEWEST_WORDS_CELLS = 16
"""Room for words that facts at the right end do not take."""
MOST_RAILS_SHARE = 3
"""Rails take a third of the width at most; what is further to the right is drawn there."""


class TreeLines(ScrollView, can_focus=True):
    """One line for each message; only what is seen is drawn, so 20,000 are as quick as 20."""

    DEFAULT_CSS = """
    TreeLines {
        background: transparent;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go(0)", "First", show=False),
        Binding("end", "go(-1)", "Last", show=False),
        Binding("left,h", "sibling(-1)", "Sibling before", show=False),
        Binding("right,l", "sibling(1)", "Sibling behind", show=False),
    ]

    class Highlighted(TextualMessage):
        """The cursor is on another message."""

        def __init__(self, message_id: str) -> None:
            super().__init__()
            self.message_id = message_id

    class Chosen(TextualMessage):
        """The user wants this one."""

        def __init__(self, message_id: str) -> None:
            super().__init__()
            self.message_id = message_id

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[TreeRow] = ()
        self._cursor = 0
        self._has_rails = True
        self._palette: Palette | None = None

    @property
    def cursor_id(self) -> str | None:
        """Of the message under the cursor."""
        return self.cursor_row.message_id if self.cursor_row is not None else None

    @property
    def cursor_row(self) -> TreeRow | None:
        """The line under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    def show_rows(self, rows: Sequence[TreeRow], marked: str | None, *, has_rails: bool = True) -> None:
        """Show these, the cursor on the marked one, or on the last."""
        self._rows, self._has_rails = rows, has_rails
        self._cursor = next(
            (n for n, row in enumerate(rows) if row.message_id == marked), max(0, len(rows) - 1)
        )
        self.virtual_size = Size(self.scrollable_content_region.width, len(rows))
        self._moved()

    def on_resize(self) -> None:
        """Keep the cursor in the view."""
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))
        self._show_cursor()

    def action_move(self, step: int) -> None:
        """One line up or down."""
        self._go(self._cursor + step)

    def action_page(self, pages: int) -> None:
        """One page up or down."""
        self._go(self._cursor + pages * max(1, self.scrollable_content_region.height - 1))

    def action_go(self, place: int) -> None:
        """To the first or to the last line."""
        self._go(place if place >= 0 else len(self._rows) - 1)

    def action_sibling(self, step: int) -> None:
        """To the sibling before or behind, wherever its line is."""
        if (here := self.cursor_row) is None:
            return
        wanted = (here.message.parent_id, here.place + step)
        places = ((row.message.parent_id, row.place) for row in self._rows)
        self._go(next((n for n, place in enumerate(places) if place == wanted), self._cursor))

    def _go(self, place: int) -> None:
        place = max(0, min(len(self._rows) - 1, place))
        if self._rows and place != self._cursor:
            self._cursor = place
            self._moved()

    def _moved(self) -> None:
        self._show_cursor()
        self.refresh()
        if self.cursor_id is not None:
            self.post_message(self.Highlighted(self.cursor_id))

    def _show_cursor(self) -> None:
        region = Region(0, self._cursor, 1, 1)
        self.scroll_to_region(region, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; one on the cursor's line takes it."""
        place = event.y + self.scroll_offset.y
        if place >= len(self._rows):
            return
        if place == self._cursor and self.cursor_id is not None:
            self.post_message(self.Chosen(self.cursor_id))
        else:
            self._go(place)

    # --- drawing ------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._palette = None
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        place, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        if place >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        palette = self._palette = self._palette or Palette(self.app.theme_variables)
        base = self.visual_style
        if place == self._cursor:
            base += palette.style("chosen")
        content = self._line(self._rows[place], width)
        parts = content.render(base, end="", parse_style=palette.style)
        strip = Strip([Segment(text, style.rich_style) for text, style in parts])
        return strip.adjust_cell_length(width, base.rich_style)

    def _line(self, row: TreeRow, width: int) -> Content:
        message = row.message
        rails = _fitting_rails(row.rails, width) if self._has_rails else ""
        mark = "● " if row.is_on_path else "○ "
        words = first_words(message)
        left = Content.assemble(
            (rails, "rule"),
            (mark, f"name.{message.role}" if row.is_on_path else "meta"),
            (speaker(message).ljust(SPEAKER_CELLS), f"name.{message.role}" if row.is_on_path else "meta"),
            (words, "" if row.is_on_path else "meta"),
        )
        clock = _short_time(message.created_at)
        room = width - 1 - len(rails) - len(mark) - SPEAKER_CELLS - FEWEST_WORDS_CELLS
        right = _fitting_facts([*facts(row), clock], room)
        return TwoEnds(Content(" ") + left, Content.styled(right and f"{right} ", "meta")).line(width)


def _short_time(unix_s: float) -> str:
    """The hour of today, the date of other days: `14:02`, `11-20`."""
    then, now = time.localtime(unix_s), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%m-%d", then)


def _fitting_facts(parts: Sequence[str], cells: int) -> str:
    """As many of them as there is room for, in the order of a head: the most useful one first to stay."""
    kept = list(parts)
    while kept and len(text := "  ".join(kept)) > cells:
        kept.pop()
    return text if kept else ""


def _fitting_rails(rails: str, width: int) -> str:
    """The rails, without their middle where they would leave no room for words."""
    most = max(2, width // MOST_RAILS_SHARE)
    return rails if len(rails) <= most else "…" + rails[-(most - 1) :]
