"""What there is to see at one moment of a replay."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

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


class Shown:
    """The paths of a conversation, quick to ask for again and again."""

    def __init__(self, conversation: Conversation) -> None:
        self._messages = conversation.messages
        self._age = {message_id: age for age, message_id in enumerate(self._messages)}
        self._children: dict[str | None, list[str]] = {}
        for message in self._messages.values():
            self._children.setdefault(message.parent_id, []).append(message.id)
        self._above: tuple[str | None, tuple[Message, ...]] = (None, ())

    def above(self, message: Message) -> tuple[Message, ...]:
        """From the root to the parent of the message."""
        parent_id, found = self._above
        if parent_id != message.parent_id:
            found = self._walk(message.parent_id)
            self._above = (message.parent_id, found)
        return found

    def _walk(self, message_id: str | None) -> tuple[Message, ...]:
        path = []
        while message_id is not None:
            message = self._messages[message_id]
            path.append(message)
            message_id = message.parent_id
        return tuple(reversed(path))

    def places(self, message: Message, *, newest: str) -> tuple[Place, ...]:
        """Where the path to the message forks, by what was there when `newest` was."""
        found = []
        for step in (*self.above(message), message):
            siblings = self._children[step.parent_id]
            if len(siblings) > 1:
                by_now = sum(self._age[sibling] <= self._age[newest] for sibling in siblings)
                found.append((step.id, siblings.index(step.id) + 1, by_now))
        return tuple(found)

    def cut(self, message: Message, text: str, tokens: int) -> Message:
        """The reply as it was when it had so many tokens."""
        assert message.reply is not None
        token_ids = message.reply.token_ids[:tokens]
        reply = replace(message.reply, token_ids=token_ids, finish_reason=None, error="")
        return replace(message, text=text, reply=reply)
