"""The stored side of one chat: a row that is made at the first turn, and what waits to be written."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_chat.conversation import Message, title_of
from llama_chat.errors import StoreError
from llama_chat.events import ModelInfo
from llama_chat.sessions import ModelRecord, SessionStore, StoreUnavailable, continuing

if TYPE_CHECKING:
    from llama_chat.sessions.forking import ForkPoint


class SavedSession:
    """Where one conversation is kept.

    `add` may be called on any thread. The others run on the recorder's thread, which repeats them while the
    disk refuses: what has succeeded is not done again.

    Args:
        store: the sessions.
        date: the ISO date of the session.
        model: its name, for the list of sessions.
        session_id: of a session that exists; None makes one with the first turn.
        written_with: the model that it went on with last.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        date: str,
        model: str,
        session_id: str | None = None,
        written_with: ModelRecord | None = None,
    ) -> None:
        self._store = store
        self.date = date
        self.model = model
        self.session_id = session_id
        self.written_with = written_with
        self.is_shared = False
        """Whether another chat had it open when this one opened it."""
        self._is_alone = False
        """Whether the store has said that no other chat has it open."""
        self._title = ""
        self._has_asked = False
        self._is_left = False
        self._waiting: deque[Message] = deque()
        self._added = self._gone = 0
        """How many messages were ever put in line, and how many of them have left it."""
        self._noted: tuple[str, ...] = ()
        """What `note_model` has noted last: weights, engine, device and precision."""

    def add(self, messages: Sequence[Message]) -> int:
        """Put messages in line for `keep`; which one of all is the last of them, from 1."""
        self._waiting.extend(messages)
        self._added += len(messages)
        return self._added

    def keep(self, leaf_id: str | None, last: int) -> str:
        """The session's id, once all up to that message is on the disk.

        What was put in line since is kept by the call that follows: a session that is taken back before that
        must not take those words with it.

        Raises:
            StoreError: it could not be written; it goes on waiting.
        """
        messages = list(self._waiting)[: max(0, last - self._gone)]
        if self.session_id is None:
            title = self._title or title_of(messages)
            self.session_id = self._store.create(title=title, model=self.model, date=self.date).id
            self.hold()
        self._store.add_messages(self.session_id, messages, leaf_id)
        for _ in messages:
            self._waiting.popleft()
            self._gone += 1
        return self.session_id

    # --- who has it open ------------------------------------------------------------------------------

    def hold(self) -> bool:
        """Note that this chat has the session open; whether another one has.

        A store that takes nothing now is no reason to wait: then nobody is told.
        """
        if self.session_id is not None and not self._is_left:
            with contextlib.suppress(StoreUnavailable):
                self.is_shared = self._store.hold(self.session_id)
                self._is_alone = not self.is_shared
        return self.is_shared

    def let_go(self) -> None:
        """Note that this chat has left the session; a process that is gone counts as one that has."""
        self._is_left, self._is_alone = True, False
        if self.session_id is not None:
            with contextlib.suppress(StoreUnavailable):
                self._store.let_go(self.session_id)

    # --- its model ------------------------------------------------------------------------------------

    def is_of_other_model(self, info: ModelInfo) -> bool:
        """Whether another model than this one has written the session, as far as that is known."""
        fingerprint = self.written_with.fingerprint if self.written_with else ""
        return fingerprint not in ("", info.fingerprint)

    def must_ask(self, info: ModelInfo) -> bool:
        """Whether the user has to be asked before this model goes on with the session; True only once."""
        must_ask = not self._has_asked and self.is_of_other_model(info)
        self._has_asked |= must_ask
        return must_ask

    def accept_model(self) -> None:
        """The user has chosen the model that goes on with the session: there is nothing to ask."""
        self._has_asked, self.written_with = True, None

    def model_of_reply(self, message_id: str) -> ModelRecord | None:
        """What wrote the reply; None where that is not known, or the store does not answer. On any thread."""
        with contextlib.suppress(StoreError):
            return self._store.model_of_reply(message_id)
        return None

    def note_model(self, info: ModelInfo) -> None:
        """Note what runs in the session from now on.

        Raises:
            StoreError: it could not be written.
        """
        runs = (info.fingerprint, info.engine, info.device, info.dtype)
        if self.session_id is not None and self._noted != runs:
            self._store.set_model(self.session_id, info)
            self._noted = runs
            self.written_with = None  # from now on it is of this model

    def choose(self, leaf_id: str | None) -> None:
        """Remember which path is shown.

        Raises:
            StoreError: it could not be written.
        """
        if self.session_id is not None:
            self._store.select_leaf(self.session_id, leaf_id)

    def copy_tokens(self, message_id: str, copy_id: str, fork: ForkPoint | None = None) -> None:
        """Give the copy of a reply its tokens, those up to the fork, what they were chosen from, its model.

        Raises:
            StoreError: it could not be written.
        """
        if self.session_id is not None:
            with self._store.transaction() as connection:
                if fork is None:
                    continuing.copy_tokens(connection, message_id, copy_id)
                else:
                    from llama_chat.sessions import forking

                    forking.fork_tokens(connection, message_id, copy_id, fork)

    def rename(self, title: str) -> None:
        """Give it another name, now or when it is made.

        Raises:
            StoreError: it could not be written.
        """
        self._title = title
        if self.session_id is not None:
            self._store.rename(self.session_id, title)

    def take_back(self, messages: Sequence[Message], leaf_id: str | None, is_everything: bool) -> None:
        """Forget these messages; a session of which they were everything is forgotten too.

        Raises:
            StoreError: it could not be written.
        """
        for message in messages:
            with contextlib.suppress(ValueError):
                self._waiting.remove(message)
                self._gone += 1
        if self.session_id is None:
            return
        if not is_everything:
            self._store.take_back(self.session_id, [message.id for message in messages], leaf_id)
        else:
            self._store.delete(self.session_id)
            self.session_id = None

    def take_back_unfinished(self, messages: Sequence[Message], leaf_id: str | None) -> None:
        """Forget what was left half done when the program ended, unless another chat may be at it.

        The stored path stays, but for one that led to what is forgotten: it leads to this leaf.

        Raises:
            StoreError: it could not be written.
        """
        if self.session_id is not None and self._is_alone:
            with self._store.transaction() as connection:
                ids = [message.id for message in messages]
                continuing.forget(connection, self.session_id, ids, leaf_id)
