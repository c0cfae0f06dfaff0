"""A tree as paths to read: the one that is shown, and at each place those that could be taken instead."""

from __future__ import annotations

from collections.abc import Iterator

from llama_chat.conversation import Conversation, Message


class Branches:
    """The messages of a conversation by parent, looked at once."""

    def __init__(self, conversation: Conversation) -> None:
        self.shown = conversation.path()
        self._below: dict[str | None, list[Message]] = {}
        for message in conversation.messages.values():
            self._below.setdefault(message.parent_id, []).append(message)

    def others(self, message: Message) -> list[Message]:
        """What stands in the place of the message on other paths."""
        return [other for other in self._below[message.parent_id] if other.id != message.id]

    def after_shown(self) -> list[Message]:
        """What follows the end of the path that is shown."""
        return self._below.get(self.shown[-1].id if self.shown else None, [])

    def path_from(self, message: Message) -> Iterator[Message]:
        """The message and, below it, always the newest."""
        yield message
        while below := self._below.get(message.id):
            message = below[-1]
            yield message
