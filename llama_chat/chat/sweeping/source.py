"""What a sweep answers: a message in its context, or words of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.conversation import Conversation, Message, Role
from llama_chat.errors import UsageError
from llama_chat.events import Engine, Piece

NOTHING_TO_SWEEP = "There is nothing to answer yet: say something, or /sweep Once upon a time"


@dataclass(frozen=True, slots=True)
class SweepSource:
    """What every column answers."""

    path: tuple[Message, ...]
    """From the root to the user's message."""
    date: str
    """Of the session, which the template may ask for."""

    @property
    def words(self) -> str:
        """What the user said."""
        return self.path[-1].text

    def pieces(self, engine: Engine, new_tokens: int) -> Sequence[Piece]:
        """The prompt, with room for so many tokens.

        Raises:
            LlamaChatError: it does not fit, or the model's template fails.
        """
        from llama_chat.turn import build_prompt  # brings jinja2

        return build_prompt(engine, self.path, date=self.date, max_new_tokens=new_tokens).pieces


def source_of(conversation: Conversation, message: Message | None, words: str, date: str) -> SweepSource:
    """What is answered: the words, under the chat's system prompt; else the user's message at this place.

    Args:
        conversation: the chat's.
        message: the chosen one; of a reply, it is what the reply answers. None: there is none.
        words: a prompt of its own; empty for none.
        date: of the session.

    Raises:
        UsageError: there is no message of the user's.
    """
    if words:
        alone = Conversation()
        alone.set_system(conversation.system)
        alone.append(Role.USER, words)
        return SweepSource(tuple(alone.path()), date)
    found: list[Message] = []
    while message is not None:
        if found or message.role is Role.USER:
            found.append(message)
        message = None if message.parent_id is None else conversation.messages.get(message.parent_id)
    if not found:
        raise UsageError(NOTHING_TO_SWEEP)
    return SweepSource(tuple(reversed(found)), date)
