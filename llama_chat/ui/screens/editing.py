"""Words of the user, taken back into the prompt to be said otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from llama_chat.conversation import Conversation, Message, Role
from llama_chat.ui.widgets.prompt import Prompt, without_controls

MARK = "your words, edited · Enter sends · Esc: as it was"
MARK_REPLY = "the reply, in your words · Enter keeps it · F5 goes on from its end · Esc: as it was"
UNSENT = "What you changed is not sent. Enter sends it, Esc again drops it."


@dataclass(slots=True)
class Editing:
    """Which message is in the prompt, and what stood there before."""

    prompt: Prompt
    message: Message | None = None
    _draft: str = ""
    _asked_about: str | None = None

    @property
    def is_reply(self) -> bool:
        """Whether it is an assistant's message."""
        return self.message is not None and self.message.role is Role.ASSISTANT

    def begin(self, message: Message, mark: str = MARK, *, text: str | None = None) -> None:
        """Put the words of a message into the prompt; what is typed there already waits.

        Args:
            message: of the path.
            mark: says what is edited.
            text: what the words are by now; None: those of the message.
        """
        if self.message is None:
            self._draft = self.prompt.full_text
        self.message, self._asked_about = message, None
        self.prompt.edited = mark
        self._show(message.text if text is None else text)

    def end(self) -> None:
        """The words were sent, or are not wanted: what stood in the prompt before comes back."""
        if self.message is not None:
            draft = self._leave()
            self._show(draft)

    def check(self, conversation: Conversation) -> None:
        """Without the message, what is typed is said as usual."""
        if self.message is not None and self.message.id not in conversation.messages:
            draft = self._leave()
            if draft:
                self.prompt.take_back(draft)

    def may_end(self) -> bool:
        """Whether nothing that is typed would be lost, or the user has been asked about it."""
        typed = self.prompt.full_text
        is_changed = typed.strip() and (self.message is None or typed != without_controls(self.message.text))
        if not is_changed or typed == self._asked_about:
            return True
        self._asked_about = typed
        return False

    def _leave(self) -> str:
        self.message, self._asked_about, draft, self._draft = None, None, self._draft, ""
        self.prompt.edited = ""
        return draft

    def _show(self, text: str) -> None:
        self.prompt.clear_all()
        self.prompt.take_back(without_controls(text))
