"""Where the path of a conversation forks: which of its siblings a message is, and the one beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from llama_chat.chat.context.summaries import is_instruction
from llama_chat.conversation import Conversation, Message, Reply, Role


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


def edited_reply(conversation: Conversation, message: Message) -> Reply | None:
    """The model's reply that the user has written anew in this message; None: it is no such message."""
    if message.role is not Role.ASSISTANT or message.reply is not None:
        return None
    return next((sibling.reply for sibling in conversation.siblings(message.id) if sibling.reply), None)


def as_shown(conversation: Conversation, message: Message) -> Message:
    """The message with a head that says who wrote it, also where the user has edited the model's words."""
    if (edited := edited_reply(conversation, message)) is None:
        return message
    name = f"{edited.model or 'model'} · edited by you"
    return replace(message, reply=Reply(edited.seed, edited.sampling, name, finish_reason="end"))


def shown_path(conversation: Conversation, path: Sequence[Message]) -> list[Message]:
    """The messages of the path as they are shown, without what the program itself has asked."""
    return [as_shown(conversation, message) for message in path if not is_instruction(message)]


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
