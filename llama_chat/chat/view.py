"""What the chat asks of whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from llama_chat.chat.backstage import notes
from llama_chat.chat.thoughts import ThoughtFigures
from llama_chat.conversation import Message

NoticeKind: TypeAlias = Literal["info", "warning", "error"]


class ChatView(Protocol):
    """What the chat asks of the screen."""

    def show_path(self, messages: Sequence[Message], *, keep_notices: bool = False) -> None:
        """Show these messages instead of all others; notices stay, below them, where that is wanted."""

    def add_message(self, message: Message) -> None:
        """Show one more."""

    def append_text(self, message_id: str, text: str) -> None:
        """The reply goes on."""

    def replace_message(self, message: Message) -> None:
        """The reply is over."""

    def set_head(self, message_id: str, text: str) -> None:
        """What stands beside the name of the speaker."""

    def set_thoughts(self, message_id: str, figures: tuple[ThoughtFigures | None, ...]) -> None:
        """How long each thought of a reply took, so far; None where that is not known."""

    def set_place(self, message_id: str, place: int, count: int) -> None:
        """Which of its siblings a message is."""

    def notice(
        self, text: str, kind: NoticeKind = "info", *, about: str = "", before: str | None = None
    ) -> None:
        """Say something of the program's own: at the end, or right above the message of that id.

        What it is `about` names it, so that it can be said otherwise or dropped later.
        """

    def drop_notices(self, about: str) -> None:
        """What was said about this is true no longer."""

    def go_to_message(self, message_id: str) -> None:
        """Scroll to the message and mark it."""

    def show_beginning(self, message_id: str) -> None:
        """Scroll no further than is needed to see where the message begins."""

    def shows_end(self) -> bool:
        """Whether the end of the chat is in sight, with what stands below the last message."""

    def sampling_changed(self) -> None:
        """The settings of the sampling were changed elsewhere than on the sliders."""

    def hint(
        self,
        text: str,
        kind: NoticeKind = "info",
        *,
        is_quiet: bool = False,
        holds: Callable[[], bool] | None = None,
    ) -> None:
        """Say something in passing, until it `holds` no longer; a quiet one does not replace another."""

    def give_back(self, text: str) -> None:
        """The words could not be sent: they belong into the prompt again."""

    def edit_again(self, message: Message, text: str) -> None:
        """The words could not take the place of the message: they belong into the prompt again, for it."""

    def pulling(self, note: notes.Pulling) -> None:
        """The model's file is being fetched."""

    def pull_ended(self) -> None:
        """It is there, or it will not come."""

    def session_changed(self) -> None:
        """Another session is open, or this one has another title or time."""

    def status_changed(self) -> None:
        """The title, the state or a figure is another."""
