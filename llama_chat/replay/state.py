"""What there is to see at one moment of a replay."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from llama_chat.conversation import Conversation, Message
from llama_chat.events import Sampling

Place: TypeAlias = tuple[str, int, int]
"""Id of a message, which of its siblings it is, and how many there are so far."""


@dataclass(frozen=True, slots=True)
class ReplayState:
    """The path that is shown, and the figures of the reply at its end."""

    before: tuple[Message, ...] = ()
    """The messages above the last one; the very same tuple as long as they do not change."""
    message: Message | None = None
    """The last one, as much of it as is written; None where nothing is shown yet."""
    places: tuple[Place, ...] = ()
    """Of those messages of the path that get siblings; the first of them is alone at first."""
    is_replying: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    """Where the sliders stand."""
    tokens: int = 0
    """Of the whole session up to now."""
    reply_tokens: int = 0
    """Of the reply that is written."""
    tok_per_s: float = 0.0
    """Its speed after the first token; 0 before there are two."""
    first_token_s: float | None = None
    prefill_s: float = 0.0
    is_by_user: bool = False
    """Whether the last token was chosen by the user."""

    @property
    def path(self) -> tuple[Message, ...]:
        """All that is shown."""
        return self.before if self.message is None else (*self.before, self.message)


class _Path(NamedTuple):
    """From the root to a message, and which of its messages have siblings."""

    last_id: str | None
    messages: tuple[Message, ...]
    forks: tuple[Message, ...]


class Shown:
    """The paths of a conversation, quick to ask for again and again."""

    def __init__(self, conversation: Conversation) -> None:
        self._messages = conversation.messages
        self._age = {message_id: age for age, message_id in enumerate(self._messages)}
        self._siblings: dict[str | None, list[int]] = {}
        """By parent, the ages of what is below it, the oldest first."""
        self._place: dict[str, int] = {}
        """Of each message among its siblings, from 1."""
        for message in self._messages.values():
            siblings = self._siblings.setdefault(message.parent_id, [])
            siblings.append(self._age[message.id])
            self._place[message.id] = len(siblings)
        self._above = _Path(None, (), ())

    def above(self, message: Message) -> tuple[Message, ...]:
        """From the root to the parent of the message."""
        return self._path_above(message).messages

    def places(self, message: Message, *, newest: str) -> tuple[Place, ...]:
        """Where the path to the message forks, by what was there when `newest` was."""
        by_now = self._age[newest]
        return tuple(
            (step.id, self._place[step.id], bisect_right(self._siblings[step.parent_id], by_now))
            for step in (*self._path_above(message).forks, *self._if_fork(message))
        )

    def _path_above(self, message: Message) -> _Path:
        if self._above.last_id != message.parent_id:
            self._above = self._near(self._above, message.parent_id)
        return self._above

    def _near(self, known: _Path, last_id: str | None) -> _Path:
        """The path to this message: mostly the known one, a message longer or shorter.

        To walk up 20,000 messages and look for forks takes 15 ms (2026-11), perhaps for every frame.
        """
        last = None if last_id is None else self._messages[last_id]
        if last is not None and last.parent_id == known.last_id:
            return _Path(last_id, (*known.messages, last), (*known.forks, *self._if_fork(last)))
        if known.messages and known.messages[-1].parent_id == last_id:
            fork_count = len(known.forks) - len(self._if_fork(known.messages[-1]))
            return _Path(last_id, known.messages[:-1], known.forks[:fork_count])
        messages = self._walk(last_id)
        return _Path(last_id, messages, tuple(fork for step in messages for fork in self._if_fork(step)))

    def _if_fork(self, message: Message) -> tuple[Message, ...]:
        """The message, if it is not alone."""
        return (message,) if len(self._siblings[message.parent_id]) > 1 else ()

    def _walk(self, message_id: str | None) -> tuple[Message, ...]:
        path = []
        while message_id is not None:
            message = self._messages[message_id]
            path.append(message)
            message_id = message.parent_id
        return tuple(reversed(path))

    def cut(self, message: Message, text: str, tokens: int) -> Message:
        """The reply as it was when it had so many tokens."""
        assert message.reply is not None
        token_ids = message.reply.token_ids[:tokens]
        reply = replace(message.reply, token_ids=token_ids, finish_reason=None, error="")
        return replace(message, text=text, reply=reply)
