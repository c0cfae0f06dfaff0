"""Where the path of a conversation forks: which of its siblings a message is, and the one beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llama_chat.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Fork:
    """A message that has siblings."""

    message_id: str
    siblings: tuple[str, ...]
    """All of them, by age, itself too."""

    @property
    def place(self) -> int:
        """Which of them it is, from 1."""
        return self.siblings.index(self.message_id) + 1

    def beside(self, step: int) -> str | None:
        """The id of the one so many places further; None beyond the ends."""
        at = self.place - 1 + step
        return self.siblings[at] if 0 <= at < len(self.siblings) else None

    def end_words(self, step: int) -> str:
        """Why there is none in that direction."""
        return f"This is the {'last' if step > 0 else 'first'} of {len(self.siblings)} replies."


def forks(conversation: Conversation) -> Iterator[Fork]:
    """Where the path forks, from its beginning on."""
    for message in conversation.path():
        siblings = conversation.siblings(message.id)
        if len(siblings) > 1:
            yield Fork(message.id, tuple(sibling.id for sibling in siblings))


def last_fork(conversation: Conversation) -> Fork | None:
    """Where the path last forks."""
    return next(reversed(list(forks(conversation))), None)
