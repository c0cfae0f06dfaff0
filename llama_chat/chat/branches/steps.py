"""Steps through the tree of a conversation: there and back, to a sibling, to a message that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.chat.branches.siblings import fork_at, last_fork

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat


class Steps:
    """Takes another path; nothing is deleted, and each path that is taken is remembered in the store."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def undo(self) -> None:
        """Go back to the path of before the last step."""
        if self._chat.conversation.can_undo:
            self._chat.when_idle(self._undo)
        else:
            self._chat.view.hint(notices.NOTHING_TO_UNDO)

    def _undo(self) -> None:
        if self._chat.conversation.undo():
            self._chat.choose_path()
            self._chat.view.hint(notices.undone(self._chat.conversation.gone_over))

    def redo(self) -> None:
        """Take the path again that was left by `undo`."""
        if self._chat.conversation.can_redo:
            self._chat.when_idle(self._redo)
        else:
            self._chat.view.hint(notices.NOTHING_TO_REDO)

    def _redo(self) -> None:
        if self._chat.conversation.redo():
            self._chat.choose_path()
            self._chat.view.hint(notices.redone(self._chat.conversation.gone_over))

    def show_sibling(self, step: int, message_id: str | None = None) -> None:
        """Show the next sibling of the message (or the one before); for None, where the path last forked."""
        conversation = self._chat.conversation
        fork = last_fork(conversation) if message_id is None else fork_at(conversation, message_id)
        if fork is None:
            self._chat.view.hint(notices.NO_SIBLINGS if message_id is None else notices.NO_OTHER_BRANCH)
        elif (beside := fork.beside(step)) is None:
            self._chat.view.hint(fork.end_words(step))
        else:
            self._chat.when_idle(lambda: self._show_beside(beside), told=notices.STOPPED)

    def _show_beside(self, message_id: str) -> None:
        """Show the sibling with its head, which says which of them it is."""
        self._select(message_id)
        if message_id in self._chat.conversation.messages:
            self._chat.view.show_beginning(message_id)

    def show_message(self, message_id: str) -> None:
        """Show the message, on the path if it is there, else on the branch that holds it."""
        if message_id in self._chat.conversation.messages:
            self._chat.when_idle(lambda: self._go_to(message_id), told=notices.STOPPED)

    def show_branch(self, message_id: str) -> None:
        """Take the path through the message, if it is not on it."""
        if all(message.id != message_id for message in self._chat.conversation.path()):
            self._select(message_id)

    def _go_to(self, message_id: str) -> None:
        self.show_branch(message_id)
        self._chat.view.go_to_message(message_id)

    def _select(self, message_id: str) -> None:
        conversation = self._chat.conversation
        if message_id in conversation.messages:  # another chat may have been opened meanwhile
            conversation.begin_step(notices.CHOICE_STEP)
            conversation.select(message_id)
            self._chat.choose_path()
