"""The stored side of one chat: a row that is made at the first turn, and what waits to be written."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Sequence

from llama_chat.conversation import Message, title_of
from llama_chat.events import ModelInfo
from llama_chat.sessions import SessionStore


class SavedSession:
    """Where one conversation is kept.

    `add` may be called on any thread. The others run on the recorder's thread, which repeats them while the
    disk refuses: what has succeeded is not done again.

    Args:
        store: the sessions.
        date: the ISO date of the session.
        model: its name, for the list of sessions.
        session_id: of a session that exists; None makes one with the first turn.
    """

    def __init__(self, store: SessionStore, *, date: str, model: str, session_id: str | None = None) -> None:
        self._store = store
        self.date = date
        self.model = model
        self.session_id = session_id
        self._waiting: deque[Message] = deque()
        self._fingerprint = ""

    def add(self, messages: Iterable[Message]) -> None:
        """Put messages in line for `keep`."""
        self._waiting.extend(messages)

    def keep(self, leaf_id: str | None) -> str:
        """The session's id, once all that waits is on the disk.

        Raises:
            StoreError: it could not be written; it goes on waiting.
        """
        messages = list(self._waiting)
        if self.session_id is None:
            title = title_of(messages)
            self.session_id = self._store.create(title=title, model=self.model, date=self.date).id
        self._store.add_messages(self.session_id, messages, leaf_id)
        for _ in messages:
            self._waiting.popleft()
        return self.session_id

    def note_model(self, info: ModelInfo) -> None:
        """Note what runs in the session from now on.

        Raises:
            StoreError: it could not be written.
        """
        if self.session_id is not None and self._fingerprint != info.fingerprint:
            self._store.set_model(self.session_id, info)
            self._fingerprint = info.fingerprint

    def choose(self, leaf_id: str | None) -> None:
        """Remember which path is shown.

        Raises:
            StoreError: it could not be written.
        """
        if self.session_id is not None:
            self._store.select_leaf(self.session_id, leaf_id)

    def take_back(self, messages: Sequence[Message], leaf_id: str | None) -> None:
        """Forget these messages; a session whose only turn they were (`leaf_id` is None) is forgotten too.

        Raises:
            StoreError: it could not be written.
        """
        for message in messages:
            with contextlib.suppress(ValueError):
                self._waiting.remove(message)
        if self.session_id is None:
            return
        if leaf_id is not None:
            self._store.take_back(self.session_id, [message.id for message in messages], leaf_id)
        else:
            self._store.delete(self.session_id)
            self.session_id = None
