"""What is done at any message of the path: a branch begins there, the path ends there, a reply is edited.

Nothing is deleted: each of these makes a sibling or takes another path, and can be undone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.conversation import Message, Role, new_id

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat


class Branching:
    """Takes the path elsewhere from a message; a reply that runs is stopped and kept before."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def branch(self, message_id: str) -> None:
        """Let the path end behind the message, so that something else can be said there.

        The user's own words are no place to say more: they are what is said otherwise.
        """
        self._chat.when_idle(lambda: self._branch(message_id), told=notices.STOPPED)

    def _branch(self, message_id: str) -> None:
        message = self._on_path(message_id)
        if message is None:
            return
        is_mine = message.role is Role.USER
        if self._end_at(message.parent_id if is_mine else message.id):
            self._chat.view.hint(notices.BRANCHED_BEFORE if is_mine else notices.BRANCHED)
        else:
            self._chat.view.hint(notices.ENDS_HERE)

    def delete_from(self, message_id: str) -> None:
        """Let the path end before the message; it stays in the tree."""
        self._chat.when_idle(lambda: self._delete_from(message_id), told=notices.STOPPED)

    def _delete_from(self, message_id: str) -> None:
        message = self._on_path(message_id)
        if message is None:
            self._chat.view.hint(notices.NOT_SHOWN)
            return
        gone = sum(1 for _ in self._below(message))
        self._end_at(message.parent_id)
        self._chat.view.hint(notices.deleted(gone))

    def keep_edited(self, message_id: str, text: str) -> bool:
        """Put the text beside a reply, as the user's own words for it; whether that was or will be done."""
        if not text.strip():
            return False
        self._chat.when_idle(lambda: self._keep_edited(message_id, text))
        return True

    def _keep_edited(self, message_id: str, text: str) -> None:
        conversation = self._chat.conversation
        if self._on_path(message_id) is None:
            self._chat.view.give_back(text)
            return
        edited_from = conversation.messages[message_id]
        conversation.begin_step(notices.step_name("your edit of", edited_from))
        edited = conversation.add_sibling(message_id, text)
        self._chat.keep_all([edited])
        self._chat.show()
        self._chat.view.hint(notices.EDITED, holds=lambda: self._chat.rests_at(edited.id))

    def copy_of(self, message: Message) -> Message:
        """A sibling of a reply with its text and its tokens, which is the end of the path now.

        What was said behind the reply was said to the reply as it is: so another one goes on.
        """
        conversation = self._chat.conversation
        conversation.begin_step(notices.step_name("it went on with", message))
        copy = conversation.add(replace(message, id=new_id()))
        self._chat.keep_all([copy])
        self._chat.bridge.copy_tokens(self._chat.saved, message.id, copy.id)
        self._chat.show()
        return copy

    def _end_at(self, leaf_id: str | None) -> bool:
        """Whether the path ended elsewhere before."""
        conversation = self._chat.conversation
        if leaf_id == conversation.leaf_id:
            return False
        conversation.begin_step(notices.ENDED_STEP)
        conversation.leaf_id = leaf_id
        self._chat.choose_path()
        return True

    def _on_path(self, message_id: str) -> Message | None:
        """The message, unless the path does not lead through it (any more)."""
        path = self._chat.conversation.path()
        return next((message for message in path if message.id == message_id), None)

    def _below(self, message: Message) -> list[Message]:
        """The message and what follows it on the path."""
        path = self._chat.conversation.path()
        return path[path.index(message) :]
