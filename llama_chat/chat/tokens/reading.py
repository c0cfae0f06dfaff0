"""The tokens of a message out of the store, and of a reply that runs as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from llama_chat.chat.backstage import notes
from llama_chat.conversation import Message
from llama_chat.errors import StoreError
from llama_chat.events import Token
from llama_chat.sessions import SessionStore

if TYPE_CHECKING:
    from llama_chat.chat.backstage.bridge import Bridge
    from llama_chat.chat.chat import Chat


def read_tokens(bridge: Bridge, message: Message, *, with_candidates: bool) -> Future[list[Token]]:
    """The tokens of a message that the store has; none for one that no model wrote here.

    Without what they were chosen from, they are there 50 times as soon.
    """
    return bridge.read(_tokens_of, bridge.store, message.id, with_candidates)


def _tokens_of(store: SessionStore, message_id: str, with_candidates: bool) -> list[Token]:
    load = store.load_tokens if with_candidates else store.load_plain_tokens
    try:
        return list(load(message_id))
    except StoreError:  # no reply, or one that is not kept yet
        return []


class LiveTokens:
    """What comes of a reply from now on, until `close`.

    Args:
        chat: whose reply it is.
        message_id: of the reply.
        on_change: called when more tokens are there, or it is over.
    """

    def __init__(self, chat: Chat, message_id: str, on_change: Callable[[], None]) -> None:
        self._chat = chat
        self._message_id = message_id
        self._on_change = on_change
        self._tokens: dict[int, Token] = {}
        self.is_over = False
        chat.watchers.append(self._take)

    def take_behind(self, before: Sequence[Token]) -> list[Token]:
        """What has come since the last call and does not stand among those tokens, in order."""
        at = before[-1].index + 1 if before else 0
        new = [self._tokens[index] for index in sorted(self._tokens) if index >= at]
        self._tokens.clear()
        return new

    def close(self) -> None:
        """Listen no more."""
        if self._take in self._chat.watchers:
            self._chat.watchers.remove(self._take)

    def _take(self, note: notes.Note) -> None:
        if not isinstance(note, notes.Happened | notes.Refused) or note.reply_id != self._message_id:
            return
        if isinstance(note, notes.Happened):
            self._tokens |= {event.index: event for event in note.events if isinstance(event, Token)}
        self.is_over = self.is_over or notes.is_end(note)
        self._on_change()
