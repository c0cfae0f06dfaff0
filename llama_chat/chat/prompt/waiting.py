"""The turn that waits: what is said while a reply is written is sent when that has come to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat import notices

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat

WHOLE = ("end", "length")
"""How a reply ends that came to its end: nobody stopped it, and nothing failed."""


class Waiting:
    """Words for the next turn; there is one such turn, and more words join it on lines of their own.

    After a failure, or when the user stops the reply, they go back into the prompt, but for those that were
    said when it was being stopped already.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._is_for_any_end = False
        self.text = ""
        """The words; empty: none wait."""
        self.count = 0
        """How often Enter was pressed for them."""

    def put(self, text: str) -> None:
        """Let words wait for the end of the reply."""
        self._is_for_any_end = self._chat.status.doing == "stopping"
        self.text = f"{self.text}\n{text}" if self.text else text
        self.count += 1
        self._chat.view.status_changed()

    def take(self) -> str:
        """The words, which wait no longer; empty where there were none."""
        text, self.text, self.count = self.text, "", 0
        if text:
            self._chat.view.status_changed()
        return text

    def give_back(self, *, told: str = notices.WAITING_GIVEN_BACK) -> None:
        """Put them into the prompt again, and say so."""
        if text := self.take():
            self._chat.view.give_back(text)
            self._chat.view.hint(told)

    def reply_ended(self, finish_reason: str | None) -> None:
        """Send them after a reply that came to its end, unless something else was begun after it."""
        chat = self._chat
        if not self.text:
            return
        is_due = self._is_for_any_end or finish_reason in WHOLE
        if not is_due or chat.is_replying or chat.opening.is_going_on:
            self.give_back()
        elif not chat.send(text := self.take()):
            chat.view.give_back(text)
