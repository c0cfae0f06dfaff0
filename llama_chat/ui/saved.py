"""The stored side of one chat: a row that is made at the first turn, and what could not be written yet."""

from __future__ import annotations

from collections.abc import Sequence

from llama_chat.conversation import Message, title_of
from llama_chat.sessions import SessionStore


class SavedSession:
    """Where one conversation is kept. `keep` and `choose` run on the recorder's thread, in order.

    Args:
        store: the open store.
        date: the ISO date of the session.
        model: its name, for the list of sessions.
        session_id: of a session that exists; None makes one with the first turn.
    """

    def __init__(self, store: SessionStore, *, date: str, model: str, session_id: str | None = None) -> None:
        self._store = store
        self.date = date
        self.model = model
        self.session_id = session_id
        self._unsaved: list[Message] = []

    def keep(self, messages: Sequence[Message], leaf_id: str | None) -> str:
        """The session's id, once the messages are on the disk; with them goes what failed before.

        Raises:
            StoreError: they could not be written; they wait for the next call.
        """
        self._unsaved.extend(messages)
        if self.session_id is None:
            title = title_of(self._unsaved)
            self.session_id = self._store.create(title=title, model=self.model, date=self.date).id
        self._store.add_messages(self.session_id, self._unsaved, leaf_id)
        self._unsaved = []
        return self.session_id

    def keep_later(self, message: Message) -> None:
        """Write the message with the next turn: its reply could not be recorded while it was written."""
        self._unsaved.append(message)

    def choose(self, leaf_id: str | None) -> None:
        """Remember which path is shown; a session whose only turn was taken back is forgotten.

        Raises:
            StoreError: it could not be written.
        """
        if self.session_id is None:
            return
        if leaf_id is not None:
            self._store.select_leaf(self.session_id, leaf_id)
        else:
            self._store.delete(self.session_id)
            self.session_id = None
