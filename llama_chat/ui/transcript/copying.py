"""Signs above the code blocks: one under the pointer is lit up, a click on one copies its block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.geometry import Region
from textual.message import Message as TextualMessage
from textual.strip import Strip

from llama_chat.ui.transcript.code_heads import hovered, is_code_head, sign_cells
from llama_chat.ui.transcript.entries import MessageEntry
from llama_chat.ui.transcript.folding import FoldingView
from llama_chat.ui.transcript.rows import BAR, Row

if TYPE_CHECKING:
    from llama_chat.markup.code_blocks import CodeBlock


class CopyingView(FoldingView):
    """A view of messages whose code blocks can be copied with the mouse."""

    class CopyWanted(TextualMessage):
        """The sign of a code block was clicked.

        Attributes:
            block: as it was written, as far as it is there.
            number: of the block in its message; 0 for one of a thought.
        """

        def __init__(self, view: CopyingView, block: CodeBlock, number: int) -> None:
            super().__init__()
            self.view = view
            self.block, self.number = block, number

        @property
        def control(self) -> CopyingView:
            """The view that sent it."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._pointer: tuple[int, int] | None = None
        """Column and line of the view that the mouse is over; None where it is elsewhere."""
        self._lit: int | None = None
        """The line of the view whose sign is lit up."""

    def render_line(self, y: int) -> Strip:
        """The strip of one line of the view; another one where the pointer is on a sign."""
        found = self._sign_at(*self._pointer) if self._pointer is not None and y == self._pointer[1] else None
        if found is None:
            return super().render_line(y)
        self._lit = y
        row = found[2]
        return (self._painter or self._make_painter()).paint(row._replace(line=hovered(row.line)))

    def _sign_at(self, x: int, y: int) -> tuple[int, int, Row] | None:
        """Entry, row and what it is, where there is a sign in this cell of the view."""
        found = self._row_at(y + self.scroll_offset.y)
        if found is None or x - self._column.left - len(BAR) not in sign_cells(found[2].line):
            return None
        return found

    def _point(self, pointer: tuple[int, int] | None) -> None:
        """Light up the sign that is under the pointer now, and no other."""
        self._pointer = pointer
        lit = pointer[1] if pointer is not None and self._sign_at(*pointer) is not None else None
        if lit != self._lit:
            for line in {lit, self._lit} - {None}:
                self.refresh(Region(0, line or 0, self.size.width, 1))
            self._lit = lit
            self.styles.pointer = "default" if lit is None else "pointer"

    def focus_on_click(self) -> bool:
        """Not for a click on what does something at once: whoever writes goes on writing.

        And the line of hints that the focus brings would move it away from under the pointer.
        """
        x, y = self.app.mouse_position - self.region.offset
        found = self._row_at(y + self.scroll_offset.y)
        if found is None or is_code_head(found[2].line):
            return self._sign_at(x, y) is None
        return not found[2].line.action

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """See what is under it."""
        self._point((event.x, event.y))

    def on_leave(self) -> None:
        """Nothing of this is under the pointer any more."""
        self._point(None)

    def on_click(self, event: events.Click) -> None:
        """Copy the block whose sign was clicked."""
        if (event.screen_x, event.screen_y) != self._pressed_at or event.chain > 1:
            return
        found = self._sign_at(event.x, event.y)
        entry = self._entries[found[0]] if found is not None else None
        if found is None or not isinstance(entry, MessageEntry):
            return
        if (block := entry.code_block(found[1])) is not None:
            self.post_message(self.CopyWanted(self, block, entry.code_number(found[1])))
