"""The list of sessions as a column beside the transcript."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from llama_chat.sessions import SessionInfo
from llama_chat.ui.widgets.filter_list import FilterList
from llama_chat.ui.widgets.session_list import session_items


class SessionPanel(Vertical):
    """Title, search line and sessions.

    Args:
        sessions: newest first.
        current_id: of the one that is open.
    """

    DEFAULT_CSS = """
    SessionPanel {
        width: 30;
        padding: 1 1;
        background: $panel;
        & > .title { padding: 0 1; text-style: bold; color: $foreground 60%; margin-bottom: 1; }
    }
    """

    class Opened(Message):
        """The user wants to go on with this session."""

        def __init__(self, info: SessionInfo) -> None:
            super().__init__()
            self.info = info

    def __init__(self, sessions: Sequence[SessionInfo], current_id: str | None) -> None:
        super().__init__()
        self._sessions = {info.id: info for info in sessions}
        self._current_id = current_id

    def compose(self) -> ComposeResult:
        """A title above the list."""
        yield Static(Content("sessions"), classes="title")
        yield FilterList(empty="No sessions yet.")

    def on_mount(self) -> None:
        """Fill the list."""
        self.show_sessions(list(self._sessions.values()), self._current_id)

    def show_sessions(self, sessions: Sequence[SessionInfo], current_id: str | None) -> None:
        """Show these instead."""
        self._sessions = {info.id: info for info in sessions}
        items = session_items(sessions, current_id, date.today(), is_narrow=True)
        self.query_one(FilterList).show_items(items, marked=current_id)

    def focus_input(self) -> None:
        """Type to search."""
        self.query_one(Input).focus()

    @on(FilterList.Chosen)
    def _open(self, event: FilterList.Chosen) -> None:
        event.stop()
        self.post_message(self.Opened(self._sessions[event.item_id]))
