"""From the list of sessions to an open one: what is read, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llama_chat.chat.backstage.saved import SavedSession
from llama_chat.chat.context.summaries import take_out_unfinished
from llama_chat.conversation import Conversation
from llama_chat.errors import LlamaChatError
from llama_chat.sessions import ModelRecord, SessionInfo, SessionStore

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat

OPENING = "opening the session"
"""What the program is at while words wait for a session that is being read."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was read of a session."""

    info: SessionInfo
    conversation: Conversation
    written_with: ModelRecord | None
    """The model that it went on with last, where that is known."""


def read_session(store: SessionStore, info: SessionInfo) -> Opened:
    """All that the chat needs of a session; for the thread of the store.

    Raises:
        StoreError: it cannot be read.
    """
    return Opened(info, store.load(info.id), store.model_of(info.id))


def _take_branch(conversation: Conversation, message_id: str) -> bool:
    """Take the path through the message, if it is not on it; whether that was done.

    That is no step of the user's: right after opening there is nothing to undo.
    """
    path = {message.id for message in conversation.path()}
    if message_id in path or message_id not in conversation.messages:
        return False
    conversation.select(message_id)
    return True


class Opening:
    """The session that is being read, if there is one, and the words that wait for it."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.is_going_on = False
        self._then: list[Callable[[], None]] = []
        self.unsent = ""
        """Words that wait for a session that is being read."""

    def expect(self) -> None:
        """A session is being read: what is sent from now on waits for it, and goes into it."""
        self.give_back()
        self._then.clear()  # it was asked for another session
        self.is_going_on = True

    def when_open(self, action: Callable[[], None]) -> None:
        """Do it once the session is there that is expected, before the words go into it that wait.

        If it cannot be read, it is done in the chat that stays; a new one is begun without it.
        """
        self._then.append(action)

    def _do_what_waits(self) -> None:
        waiting, self._then = self._then, []
        for action in waiting:
            action()

    def hold(self, text: str) -> None:
        """Let words wait for the session that is expected."""
        chat = self._chat
        self.unsent = text
        doing = chat.status.doing if chat.status.model_state == "loading" else OPENING
        chat.set_status(replace(chat.status, is_replying=True, doing=doing))

    def open(self, opened: Opened, message_id: str | None = None) -> None:
        """Go on with the session that was expected, unless another chat was begun meanwhile.

        Args:
            opened: the session.
            message_id: of a message to be shown, on the branch that holds it.
        """
        if self.is_going_on:
            self._chat.when_idle(lambda: self._open(opened, message_id))

    def _open(self, opened: Opened, message_id: str | None) -> None:
        chat, info = self._chat, opened.info
        had_turns = chat.has_words
        unfinished = take_out_unfinished(opened.conversation)
        saved = SavedSession(
            chat.bridge.store,
            date=info.date,
            model=info.model,
            session_id=info.id,
            written_with=opened.written_with,
        )
        is_branch = message_id is not None and _take_branch(opened.conversation, message_id)
        chat.go_to(opened.conversation, saved, info.title)
        if unfinished:
            chat.bridge.take_back_unfinished(saved, unfinished, opened.conversation.leaf_id)
        if is_branch:
            chat.bridge.choose(saved, opened.conversation.leaf_id)
        chat.show(keep_notices=not had_turns)  # what was said at the start is still to be read
        chat.tell_other_model()
        if message_id is not None:
            chat.steps.show_message(message_id)
        self.open_none()

    def open_none(self) -> None:
        """No session is expected any more; what waited for one goes into the chat that is there."""
        self.is_going_on = False
        self._do_what_waits()
        held, self.unsent = self.unsent, ""
        if held and not self._chat.send(held):
            self._chat.waiting.give_back()
            self._chat.view.give_back(held)
            self._chat.rest()

    def fail(self, error: LlamaChatError) -> None:
        """The session that was expected cannot be read: say so, and give back what waited for it."""
        self.is_going_on = False
        self._chat.view.notice(str(error), "error")
        self._do_what_waits()
        self.give_back()

    def give_up(self) -> None:
        """The session is not wanted any more."""
        self.is_going_on = False
        self._then.clear()
        self.give_back()

    def give_back(self) -> None:
        """Put words that wait into the prompt again."""
        held, self.unsent = self.unsent, ""
        if held:
            self._chat.waiting.give_back()  # first: what is given back later comes before it
            self._chat.view.give_back(held)
            self._chat.rest()
