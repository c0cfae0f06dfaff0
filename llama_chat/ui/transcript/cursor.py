"""A cursor over the messages of a transcript: which is chosen, how it is seen, what a click chooses."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.binding import BindingsMap
from textual.message import Message as TextualMessage

from llama_chat.chat.keys.inside import TRANSCRIPT_KEYS
from llama_chat.ui.transcript.entries import MessageEntry
from llama_chat.ui.transcript.heads import place_text
from llama_chat.ui.transcript.rows import BAR
from llama_chat.ui.transcript.view import EntryView

CONTEXT_ROWS = 2
"""Rows that stay in view above a message that was gone to, where there are any."""


def letter_bindings() -> BindingsMap:
    """What the keys do while the transcript has the focus: actions of its screen. Letters ask first."""
    bindings = BindingsMap()
    for each in TRANSCRIPT_KEYS:
        for key in each.keys if each.action and not each.wish else ():
            bindings.bind(key, f"screen.{each.action.replace('{key}', key)}", each.what, show=False)
    return bindings


class CursorView(EntryView):
    """A view of messages, one of which may be chosen."""

    class CursorMoved(TextualMessage):
        """Another message is chosen, or none any more."""

        def __init__(self, view: CursorView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> CursorView:
            """The view that sent it."""
            return self.view

    class SiblingWanted(TextualMessage):
        """An arrow beside the place of a message among its siblings was clicked."""

        def __init__(self, view: CursorView, step: int) -> None:
            super().__init__()
            self.view = view
            self.step = step

        @property
        def control(self) -> CursorView:
            """The view that sent it."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._cursor: MessageEntry | None = None

    def take_letters(self) -> None:
        """Let plain keys do what they stand for while this has the focus."""
        for key, bindings in letter_bindings().key_to_bindings.items():
            self._bindings.key_to_bindings[key] = bindings

    @property
    def cursor_id(self) -> str | None:
        """The id of the chosen message; None where none is."""
        return self._cursor.message.id if self._cursor is not None else None

    def choose(self, message_id: str) -> bool:
        """Choose the message and bring it into view; whether it is here."""
        place = self._place_of(message_id)
        if place is not None:
            self._set_cursor(self._at(place))
            self._show_entry(place)
        return place is not None

    def show_beginning(self, message_id: str) -> None:
        """Scroll no further than is needed to see the message; of one that is too long, the beginning."""
        if (place := self._place_of(message_id)) is not None:
            self._show_entry(place)

    def leave_cursor(self) -> None:
        """Choose nothing; the view stays where it is."""
        self._set_cursor(None)

    def move_cursor(self, step: int) -> bool:
        """Choose the message so many places further; whether there is any message.

        Without a cursor it begins at the last message that can be seen.
        """
        places = self._message_places()
        if not places:
            return False
        now = self._place_of(self.cursor_id) if self.cursor_id is not None else None
        if now is None:
            bottom = self._heights.find(self.scroll_offset.y + max(0, self._view_size.height - 2))
            place = next((n for n in reversed(places) if n <= bottom), places[0])
        else:
            place = places[max(0, min(len(places) - 1, places.index(now) + step))]
        self._set_cursor(self._at(place))
        self._show_entry(place)
        return True

    def _place_of(self, message_id: str | None) -> int | None:
        for place, entry in enumerate(self._entries):
            if isinstance(entry, MessageEntry) and entry.message.id == message_id:
                return place
        return None

    def _at(self, place: int) -> MessageEntry:
        entry = self._entries[place]
        assert isinstance(entry, MessageEntry)
        return entry

    def _set_cursor(self, entry: MessageEntry | None) -> None:
        if entry is self._cursor:
            return
        for each in (self._cursor, entry):
            if each is not None:
                each.is_chosen = each is entry
                each.redraw_head()
        self._cursor = entry
        self.refresh()
        self.post_message(self.CursorMoved(self))

    def _message_places(self) -> list[int]:
        """The places of all messages."""
        return [place for place, entry in enumerate(self._entries) if isinstance(entry, MessageEntry)]

    def _cursor_before(self) -> tuple[int, int] | None:
        """How many messages are above the chosen one, and in which row of the view it begins."""
        place = self._place_of(self.cursor_id) if self._cursor is not None else None
        if place is None:
            return None
        return self._message_places().index(place), self._heights.start(place) - self.scroll_offset.y

    def _restore_cursor(self, before: tuple[int, int] | None) -> None:
        """The entries are others now: choose the same message, or the one that stands where it stood.

        It begins in the row of the view where the other one began.
        """
        if before is None:
            return
        number, row = before
        places = self._message_places()
        place = self._place_of(self.cursor_id)
        if place is None and places:
            place = places[min(number, len(places) - 1)]
        self._set_cursor(None if place is None else self._at(place))
        if place is None:
            return
        if 0 <= row < self._view_size.height:
            self._scroll_to_row(self._heights.start(place) - row, place)
        else:
            self._show_entry(place)

    def _show_entry(self, place: int) -> None:
        """Scroll no further than is needed to see it; of one that is too long, the beginning."""
        height = self._view_size.height
        if not height:
            return
        self._entries[place].lay_out()
        self._heights.recount(self._entries, place)
        top, start, end = self.scroll_offset.y, self._heights.start(place), self._heights.start(place + 1)
        if start < top or end - start > height:
            self._scroll_to_row(max(0, start - CONTEXT_ROWS), place)
        elif end > top + height:
            self._scroll_to_row(end - height, place)

    def _scroll_to_row(self, row: int, place: int) -> None:
        """Stand at the row; what becomes exact above the entry does not move it."""
        self._follows_end = False
        before = self._heights.start(place) - row
        self._settle(row)
        self._settle(self._heights.start(place) - before)
        self._follows_end = self.scroll_offset.y >= self._heights.total - self._view_size.height
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click on a head chooses its message; one on an arrow beside its place shows that sibling."""
        found = self._row_at(event.y + self.scroll_offset.y)
        if found is None or found[1] != 0 or self.screen.get_selected_text():
            return
        entry = self._entries[found[0]]
        if not isinstance(entry, MessageEntry):
            return
        self._set_cursor(entry)
        if step := _arrow_at(entry, event.x - self._column.left - len(BAR)):
            self.post_message(self.SiblingWanted(self, step))


def _arrow_at(entry: MessageEntry, x: int) -> int:
    """-1 or 1 where the cell of the head belongs to an arrow; else 0."""
    words = place_text(entry.place)
    head = entry.lay_out()[0].line.plain
    at = head.rfind(words) if words else -1
    if at < 0:
        return 0
    first, last = cell_len(head[:at]), cell_len(head[:at] + words) - 1
    if first - 1 <= x <= first + 1:
        return -1
    return 1 if last - 1 <= x <= last + 1 else 0
