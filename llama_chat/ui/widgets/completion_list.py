"""A few rows right above the prompt: how what is typed may go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from llama_chat.chat.prompt.completing import Offer
from llama_chat.sanitize import sanitize
from llama_chat.ui.widgets.fitting import cut

MOST_ROWS = 8
NAME_CELLS = 34
"""A longer name, with what it takes, is cut where there is something beside it."""
GAP_CELLS = 2
LEAST_HELP_CELLS = 12
NARROW_CELLS = 60
"""A narrower list leaves out what may stand behind a name: it is said once the name stands there."""
_MORE_CELLS = 7
_MARK = "▸ "
"""Where there are no colours, it is what tells the row that Enter takes."""


class CompletionList(Widget):
    """The offers, one a row; a mark stands on the one that Enter takes. It never has the focus."""

    DEFAULT_CSS = """
    CompletionList {
        height: auto;
        max-width: 104;
        padding: 0 1;
        background: $surface;
        border-left: outer $primary;
        & > .completion-list--marked { background: $primary 25%; color: $foreground; }
        &:ansi > .completion-list--marked {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"completion-list--marked"}
    can_focus = False

    class Taken(Message):
        """A row was clicked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self) -> None:
        super().__init__()
        self._offers: Sequence[Offer] = ()
        self._marked: int | None = None
        self._top = 0

    def show(self, offers: Sequence[Offer], marked: int | None) -> None:
        """Show these, with the mark in sight."""
        rows_before = self._rows
        if offers != self._offers:
            self._offers, self._top = offers, 0
        self._marked = marked
        if marked is not None:
            self._top = max(marked - self._rows + 1, min(self._top, marked))
        self.display = bool(offers)
        self.refresh(layout=self._rows != rows_before)

    @property
    def _rows(self) -> int:
        return min(len(self._offers), MOST_ROWS, max(2, self.app.size.height // 3))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  (Textual's)
        """A row for each, up to a third of the screen."""
        return self._rows

    def render(self) -> Content:
        """The rows that are in sight."""
        width, rows = self.content_size.width - len(_MARK), self._rows
        self._top = max(0, min(self._top, len(self._offers) - rows))
        shown = self._offers[self._top : self._top + rows]
        if width < NARROW_CELLS:
            shown = [replace(offer, takes="") for offer in shown]
        longest = max((cell_len(_head(offer)) for offer in shown), default=0)
        most = min(NAME_CELLS, 2 * width // 5)
        style = self.get_visual_style("completion-list--marked", partial=True)
        lines = []
        for number, offer in enumerate(shown):
            above, below = self._top, len(self._offers) - self._top - rows
            more = f"↑ {above}" if number == 0 and above else ""
            more = f"↓ {below}" if number == rows - 1 and below else more
            is_marked = self._top + number == self._marked
            row = Content(_MARK if is_marked else " " * len(_MARK))
            row += _row(offer, min(longest, most), width, more)
            lines.append(row.stylize(style) if is_marked else row)
        return Content("\n").join(lines)

    def on_click(self, event: events.Click) -> None:
        """Take the row."""
        event.stop()
        place = self._top + event.get_content_offset_capture(self).y
        if 0 <= place < len(self._offers):
            self.post_message(self.Taken(place))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Show what is below."""
        event.stop()
        self._top += 1
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Show what is above."""
        event.stop()
        self._top = max(0, self._top - 1)
        self.refresh()


def _head(offer: Offer) -> str:
    return sanitize(f"{offer.name} {offer.takes}".rstrip())


def _row(offer: Offer, head_cells: int, width: int, more: str) -> Content:
    """Name, what may stand behind it, what it does; at the right end how many more there are."""
    room = width - (_MORE_CELLS if more else 0)
    name = sanitize(offer.name)
    has_help = bool(offer.help) and room - head_cells - GAP_CELLS >= LEAST_HELP_CELLS
    name = cut(name, min(head_cells, room) if has_help else room)
    takes = cut(sanitize(offer.takes), max(0, (head_cells if has_help else room) - cell_len(name) - 1))
    row = Content.assemble(name, (f" {takes}" if takes else "", "$foreground 50%"))
    if has_help:
        gap = " " * (head_cells + GAP_CELLS - row.cell_length)
        text = cut(sanitize(offer.help), room - head_cells - GAP_CELLS)
        row = Content.assemble(row, gap, (text, "$foreground 60%"))
    gap = " " * (width - row.cell_length - cell_len(more))
    return row + Content(gap) + Content.styled(more, "$foreground 50%")
