"""A text area whose lines are those that were typed, whatever rows a long one wraps into."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import TextArea


class LineArea(TextArea):
    """Ctrl+A, E, U and K act on a whole line, as they do in a shell; Textual's act on a row (8.2.8).

    Home and End stay within the row, as in other editors. Takes what a `TextArea` takes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+a", "cursor_to_line_start", "To the start of the line", show=False),
        Binding("ctrl+e", "cursor_to_line_end", "To the end of the line", show=False),
    ]

    def action_cursor_to_line_start(self) -> None:
        """Go to the start of the line."""
        self.move_cursor((self.cursor_location[0], 0))

    def action_cursor_to_line_end(self) -> None:
        """Go behind the end of the line."""
        row = self.cursor_location[0]
        self.move_cursor((row, len(self.document.get_line(row))))

    def action_delete_to_start_of_line(self) -> None:
        """Delete what is before the cursor in its line; at the start of it, the line break before that."""
        row, column = self.selection.end
        if column == 0:
            super().action_delete_to_start_of_line()
        else:
            self._delete_via_keyboard((row, column), (row, 0))

    def action_delete_to_end_of_line(self) -> None:
        """Delete what is behind the cursor in its line."""
        row, column = self.selection.end
        self._delete_via_keyboard((row, column), (row, len(self.document.get_line(row))))

    async def action_delete_to_end_of_line_or_delete_line(self) -> None:
        """Delete what is behind the cursor in its line; at the end of it, the line break there."""
        row, column = self.selection.end
        if self.selection.is_empty and column == len(self.document.get_line(row)):
            self.action_delete_right()
        else:
            self.action_delete_to_end_of_line()

    def empty(self) -> None:
        """Delete all of it, in one step that undo takes back."""
        self.history.checkpoint()
        self._delete_via_keyboard((0, 0), self.document.end)
