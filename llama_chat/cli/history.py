"""The session that `run -c` or `run --resume` goes on with; without either, nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date as calendar_date
from typing import TYPE_CHECKING

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.errors import StoreError
from llama_chat.events import Event, ModelInfo, Sampling, Token
from llama_chat.paths import Paths
from llama_chat.settings import Settings

if TYPE_CHECKING:
    from llama_chat.sessions import SessionInfo, SessionStore


class History:
    """What was said before the prompt, and where to keep what comes now."""

    def __init__(
        self, conversation: Conversation, date: str, store: SessionStore | None, session: SessionInfo | None
    ) -> None:
        self.conversation = conversation
        self.date = date
        self._store = store
        self._session = session
        self._question: Message | None = None
        self._not_kept: list[Message] = []
        self._originals: dict[str, str] = {}
        self.context_start: str | None = None
        """Id of the oldest message that the model sees, when some were left out."""

    @classmethod
    @contextmanager
    def open(
        cls,
        settings: Settings,
        paths: Paths,
        *,
        resume: str | None,
        continue_last: bool,
        is_system_given: bool = False,
    ) -> Iterator[History]:
        """The session that was asked for; without one, nothing but the system prompt of the settings.

        With `is_system_given`, the session goes on under the settings' system prompt instead of its own.

        Raises:
            StoreError: there is no such session, or the store cannot be opened.
        """
        today = calendar_date.today().isoformat()
        if resume is None and not continue_last:
            history = cls(Conversation(), today, None, None)
            history.conversation.set_system(settings.chat.system)
            yield history
            return
        from llama_chat.cli.sessions_store import exists, find_session, opened_store

        if not exists(paths.sessions_file):
            raise _nothing_to_continue(resume)
        with opened_store(paths.sessions_file) as store:
            session = find_session(store, resume) if resume is not None else store.last()
            if session is None:
                raise _nothing_to_continue(None)
            history = cls(store.load(session.id), session.date, store, session)
            if is_system_given:
                history._take_system(settings.chat.system)
            yield history

    def _take_system(self, text: str) -> None:
        self._not_kept, self._originals = self.conversation.set_system(text)

    def path(self) -> list[Message]:
        """What the model is to answer."""
        return self.conversation.path()

    def ask(self, prompt: str) -> None:
        """Put the prompt below what was said before, and keep it."""
        self._question = self.conversation.append(Role.USER, prompt)
        if self._store is not None and self._session is not None:
            messages = [*self._not_kept, self._question]
            self._store.add_messages(self._session.id, messages, self._question.id)
            self._copy_tokens(self._store)
            self._not_kept = []

    def _copy_tokens(self, store: SessionStore) -> None:
        from llama_chat.sessions.continuing import copy_tokens

        for copy in self._not_kept:
            if copy.reply is not None and copy.reply.token_ids:
                with store.transaction() as connection:
                    copy_tokens(connection, self._originals[copy.id], copy.id)

    @contextmanager
    def keeping(self, seed: int, sampling: Sampling, info: ModelInfo) -> Iterator[Callable[[Event], None]]:
        """A function that keeps the events of one reply, each token before it is printed.

        A reply that is left before its end (a closed pipe, a second Ctrl+C) is kept as interrupted.
        """
        if self._store is None or self._session is None or self._question is None:
            yield lambda _: None
            return
        from llama_chat.recorder import ReplyBuilder

        store, session = self._store, self._session
        self.conversation.leaf_id = self._question.id
        message = self.conversation.append(
            Role.ASSISTANT, "", reply=Reply(seed, sampling, info.name, context_start=self.context_start)
        )
        builder = ReplyBuilder(message)
        store.set_model(session.id, info)
        store.begin_reply(session.id, message)

        def keep(event: Event) -> None:
            builder.feed(event)
            if isinstance(event, Token):
                store.append_tokens(message.id, [event])

        try:
            yield keep
        finally:
            kept = _ended(builder.message)
            self.conversation.update(kept)
            store.finish_reply(session.id, kept)


def _nothing_to_continue(resume: str | None) -> StoreError:
    if resume is not None:
        return StoreError(f"No session begins with {resume!r}.", hint="There are no sessions yet.")
    return StoreError("There is no session to continue", hint="Start one with llama-chat.")


def _ended(message: Message) -> Message:
    """The message as it is kept; a reply that says no reason for its end was interrupted."""
    if message.reply is None or message.reply.finish_reason is not None:
        return message
    return replace(message, reply=replace(message.reply, finish_reason="interrupted"))
