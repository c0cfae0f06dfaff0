"""Past sessions by day, to be found by typing, opened with Enter, renamed and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from llama_chat.sessions import SessionInfo
from llama_chat.ui.widgets.filter_list import FilterList
from llama_chat.ui.widgets.session_items import SessionItems


class SessionList(FilterList):
    """The sessions under an input.

    Args:
        is_narrow: each takes two lines.
        empty: shown when there are none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "rename", "Rename", show=False, priority=True),
        Binding("delete", "delete", "Delete", show=False, priority=True),
    ]

    class Wanted(Message):
        """The user wants something of a session."""

        def __init__(self, info: SessionInfo) -> None:
            super().__init__()
            self.info = info

    class Opened(Wanted):
        """To go on with it."""

    class RenameWanted(Wanted):
        """To give it another name."""

    class DeleteWanted(Wanted):
        """To delete it."""

    def __init__(self, *, is_narrow: bool = False, empty: str = "No sessions yet.") -> None:
        super().__init__("type to search…" if not is_narrow else "search…", empty=empty)
        self._is_narrow = is_narrow
        self._sessions: dict[str, SessionInfo] = {}

    def show_sessions(self, sessions: Sequence[SessionInfo], current_id: str | None) -> None:
        """Show these; while the user is at it, the cursor stays at its session, or where that was."""
        marked = self._cursor_after({info.id for info in sessions}) if self.query("Input:focus") else None
        self._sessions = {info.id: info for info in sessions}
        items = SessionItems(sessions, current_id, date.today(), is_narrow=self._is_narrow)
        self.show_items(items, marked=marked or current_id)

    def _cursor_after(self, new_ids: set[str]) -> str | None:
        """The session at the cursor; one that is gone gives way to the next one, or to the one before."""
        if (at := self.highlighted_id) is None:
            return None
        shown = self.shown_ids
        place = shown.index(at)
        return next((one for one in [*shown[place:], *reversed(shown[:place])] if one in new_ids), None)

    @on(FilterList.Chosen)
    def _open(self, event: FilterList.Chosen) -> None:
        event.stop()
        self.post_message(self.Opened(self._sessions[event.item_id]))

    def action_rename(self) -> None:
        """Ask for another name of the session at the cursor."""
        if self.highlighted_id is not None:
            self.post_message(self.RenameWanted(self._sessions[self.highlighted_id]))

    def action_delete(self) -> None:
        """Delete the session at the cursor; within the typed words, the letter at the right."""
        words = self.query_one(Input)
        if words.cursor_position < len(words.value) or not words.selection.is_empty:
            words.action_delete_right()
        elif self.highlighted_id is not None:
            self.post_message(self.DeleteWanted(self._sessions[self.highlighted_id]))
