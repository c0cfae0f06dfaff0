"""The list of sessions as a column beside the transcript."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.sessions import SessionInfo
from llama_chat.ui.widgets.session_list import SessionList


class SessionPanel(Vertical):
    """Title, search line, sessions, keys.

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
        & > .hint { padding: 0 1; color: $foreground 50%; margin-top: 1; }
    }
    """

    def __init__(self, sessions: Sequence[SessionInfo], current_id: str | None) -> None:
        super().__init__()
        self._sessions = sessions
        self._current_id = current_id

    def compose(self) -> ComposeResult:
        """A title above the list."""
        yield Static(Content("sessions"), classes="title")
        yield SessionList(is_narrow=True)
        yield Static(Content("^R rename · Del delete"), classes="hint")

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one(SessionList).show_sessions(self._sessions, self._current_id)

    def focus_input(self, words: str = "") -> None:
        """Type to search; words are typed already."""
        if words:
            self.query_one(SessionList).type(words)
        self.query_one(Input).focus()
