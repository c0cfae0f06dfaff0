"""The list of sessions as a card, where the screen is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llama_chat.sessions import SessionInfo
from llama_chat.ui.screens import session_openers
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.session_list import SessionList

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

_HINTS = (
    "Enter opens · Ctrl+R renames · Del deletes · Esc back",
    "Enter opens · Del deletes · Esc",
    "Esc back",
)


class SessionCard(Card[None]):
    """Open, rename or delete a session; the card stays for the next one until one is opened.

    Args:
        chat_screen: does what is wanted.
        sessions: newest first.
        current_id: of the one that is open.
    """

    DEFAULT_CSS = """
    SessionCard > .card { height: 70%; max-height: 32; }
    SessionCard.-narrow > .card, SessionCard.-low > .card { height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("alt+z", "undo_step", "Take the deletion back", show=False),
    ]

    def __init__(
        self, chat_screen: ChatViewScreen, sessions: Sequence[SessionInfo], current_id: str | None
    ) -> None:
        super().__init__()
        self._chat_screen = chat_screen
        self._sessions = sessions
        self._current_id = current_id

    def compose(self) -> ComposeResult:
        """Title, list, keys."""
        with Vertical(classes="card"):
            yield Static(Content("Sessions"), classes="title")
            yield SessionList(empty="No sessions yet: say something first.")
            yield FittingLine(*_HINTS, classes="hint")

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one(SessionList).show_sessions(self._sessions, self._current_id)

    @on(SessionList.Opened)
    def _open(self, event: SessionList.Opened) -> None:
        self.dismiss(None)
        session_openers.open_session(self._chat_screen, event.info)

    @on(SessionList.RenameWanted)
    def _rename(self, event: SessionList.RenameWanted) -> None:
        session_openers.rename_session(self._chat_screen, event.info)

    @on(SessionList.DeleteWanted)
    def _delete(self, event: SessionList.DeleteWanted) -> None:
        session_openers.delete_session(self._chat_screen, event.info)

    def action_undo_step(self) -> None:
        """Bring back what was deleted last."""
        if self._chat_screen.last_deleted is not None:
            session_openers.bring_back(self._chat_screen, self._chat_screen.last_deleted)
