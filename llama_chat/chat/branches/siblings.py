"""Where the path of a conversation forks: which of its siblings a message is, and the one beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llama_chat.conversation import Conversation, Message, Role


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
        return f"This is the {'last' if step > 0 else 'first'} of {len(self.siblings)} branches."


def forks(conversation: Conversation, path: Sequence[Message]) -> Iterator[Fork]:
    """Where this path forks, in its order."""
    for message in path:
        siblings = conversation.siblings(message.id)
        if len(siblings) > 1:
            yield Fork(message.id, tuple(sibling.id for sibling in siblings))


def last_fork(conversation: Conversation) -> Fork | None:
    """Where the path last forks."""
    return next(forks(conversation, conversation.path()[::-1]), None)


def fork_at(conversation: Conversation, message_id: str) -> Fork | None:
    """The message as one of its siblings; None where it is the only one, or not there."""
    messages = [conversation.messages[message_id]] if message_id in conversation.messages else []
    return next(forks(conversation, messages), None)


def end_of_own_path(conversation: Conversation, is_foreign: Callable[[Message], bool]) -> str | None:
    """The leaf; where another chat writes it, the last message before what was said for it.

    Args:
        conversation: as it was read.
        is_foreign: whether another chat is writing a reply.
    """
    leaf_id = conversation.leaf_id
    if leaf_id is None or not is_foreign(conversation.messages[leaf_id]):
        return leaf_id
    parent_id = conversation.messages[leaf_id].parent_id
    if parent_id is not None and conversation.messages[parent_id].role is Role.USER:
        return conversation.messages[parent_id].parent_id
    return parent_id
