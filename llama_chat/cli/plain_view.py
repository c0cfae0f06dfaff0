"""The chat's view that only prints: replies to stdout, all else to stderr, nothing is ever drawn again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llama_chat.chat.backstage import notes
from llama_chat.chat.thoughts import ThoughtFigures
from llama_chat.chat.view import NoticeKind
from llama_chat.chat.words import end_text, name_of
from llama_chat.cli.answer import Printer
from llama_chat.cli.plain_attaching import in_lines
from llama_chat.cli.plain_words import shared_length, without_keys
from llama_chat.cli.pull_bar import ProgressTeller
from llama_chat.cli.talk import say
from llama_chat.conversation import Message, Role

SHOWN_MESSAGES = 2
"""So many of the last messages are read out where a path is taken: an exchange."""


class PlainView:
    """What `ChatView` asks for, one line after the other.

    Args:
        is_talk: whether the two sides of a talk are printed, with their names; else only the replies are.
        model_name: tells who answers.
    """

    def __init__(self, *, is_talk: bool, model_name: Callable[[], str]) -> None:
        self._is_talk = is_talk
        self._model_name = model_name
        self._path: list[str] = []
        self._printer: Printer | None = None
        self._told: list[str] = []
        self._waiting: list[str] = []
        self._marks: dict[str, str] = {}
        """What was last said of a place in the chat, by what it is about."""
        self._is_silent = False
        self._progress: ProgressTeller | None = None
        self.typed = ""
        """What the user has just said: it stands there already."""
        self.given_back = ""
        """Words that could not be sent."""
        self.has_failed = False
        """Whether something could not be done."""

    # --- messages -------------------------------------------------------------------------------------

    def show_path(self, messages: Sequence[Message], *, keep_notices: bool = False) -> None:  # noqa: ARG002  (all stay)
        """Print what is new on this path: the last exchange of it."""
        ids = [message.id for message in messages]
        new = messages[shared_length(ids, self._path) :]
        self._path = ids
        told = [message for message in new if message.text and message.text != self.typed]
        if self._is_talk and not self._is_silent and told:
            if (more := len(told) - SHOWN_MESSAGES) > 0:
                self.say(f"{more:,} earlier message{'' if more == 1 else 's'}; /show prints them all.")
            for message in told[-SHOWN_MESSAGES:]:
                self._print(message)
        if self._is_talk and not self._is_silent and new and (end := end_text(new[-1].reply)):
            self.say(f"{end} F5 goes on.")

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Meanwhile no message is printed that was there before."""
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    def print_message(self, message: Message) -> None:
        """Print a whole message, with the name of the speaker, and how it ended."""
        self._print(message)
        if end := end_text(message.reply):
            self.say(end)

    def _print(self, message: Message) -> None:
        print(f"{name_of(message)}: ", end="", flush=True)
        printer = Printer()
        printer.write(in_lines(message.text) if message.role is Role.USER else message.text)
        printer.end()

    def add_message(self, message: Message) -> None:
        """The user has said it, or the reply to it begins: nothing to print yet."""
        self._path.append(message.id)

    def append_text(self, message_id: str, text: str) -> None:  # noqa: ARG002  (one reply at a time)
        """Print how the reply goes on."""
        if self._printer is None:
            self._printer = Printer()
            self._print_name()
        self._told.append(text)
        self._printer.write(text)

    def _print_name(self) -> None:
        """Who answers: with the reply in a talk, else beside it for whoever looks."""
        name = f"{self._model_name()}: "
        if self._is_talk:
            print(name, end="", flush=True)
        elif sys.stderr is not None and sys.stderr.isatty():
            say(name)

    def replace_message(self, message: Message) -> None:
        """The reply goes on with this text, or it is over."""
        reply = message.reply
        if reply is None or reply.finish_reason is None:
            self._rewrite(message)
            return
        self._end()
        if reply.finish_reason == "failed":
            self.has_failed = True
            self.say(end_text(reply))
        elif reply.finish_reason in ("stopped", "interrupted") and not reply.token_ids:
            self.say(end_text(reply))

    def _rewrite(self, message: Message) -> None:
        """What goes on is known as it begins; after that, a character that was cut may become another."""
        if not self._told:
            self._told = [message.text]
            return
        known = shared_length("".join(self._told), message.text)
        self._told = [message.text[:known]]
        if rest := message.text[known:]:
            self.append_text(message.id, rest)

    def _end(self) -> None:
        """End the line of the reply, and say what had to wait for that."""
        if self._printer is not None:
            self._printer.end()
        self._printer, self._told = None, []
        waiting, self._waiting = self._waiting, []
        for text in waiting:
            say(text)

    def end(self) -> None:
        """Nothing more is printed of the reply that is there."""
        self._end()

    # --- words of the program's own -------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a line beside the chat; while a reply is written, after it."""
        if not text:
            return
        words = without_keys(text)
        if self._printer is None:
            say(words)
        else:
            self._waiting.append(words)

    def notice(
        self, text: str, kind: NoticeKind = "info", *, about: str = "", before: str | None = None
    ) -> None:
        """Say it; what belongs to a place in the chat, only when that has changed."""
        self.has_failed |= kind == "error"
        if before is not None:
            if self._marks.get(about) == text:
                return
            self._marks[about] = text
        self.say(text)

    def drop_notices(self, about: str) -> None:
        """What was printed stays."""

    def show_beginning(self, message_id: str) -> None:
        """Nothing scrolls here."""

    def shows_end(self) -> bool:
        """No: lines do not say how the reply before them ended."""
        return False

    def go_to_message(self, message_id: str) -> None:
        """The end of the path is printed anyway."""

    def sampling_changed(self) -> None:
        """Nothing shows the settings."""

    def hint(
        self,
        text: str,
        kind: NoticeKind = "info",
        *,
        is_quiet: bool = False,  # noqa: ARG002  (all are said)
        holds: Callable[[], bool] | None = None,  # noqa: ARG002  (what is printed stays)
    ) -> None:
        """Say it."""
        self.notice(text, kind)

    def give_back(self, text: str) -> None:
        """Keep the words for the next line."""
        self.given_back = text

    def edit_again(self, message: Message, text: str) -> None:  # noqa: ARG002  (said anew, at the end)
        """Keep the words for the next line."""
        self.give_back(text)

    # --- the model ------------------------------------------------------------------------------------

    def pulling(self, note: notes.Pulling) -> None:
        """A line for about every tenth."""
        if self._progress is None and sys.stderr is not None:
            self._progress = ProgressTeller(sys.stderr, is_terminal=False)
        if self._progress is not None:
            self._progress(note.progress)

    def pull_ended(self) -> None:
        """It is there, or it will not come."""
        if self._progress is not None:
            self._progress.end()
            self._progress = None

    # --- what only a screen shows ---------------------------------------------------------------------

    def set_head(self, message_id: str, text: str) -> None:
        """Figures are for eyes."""

    def set_thoughts(self, message_id: str, figures: tuple[ThoughtFigures | None, ...]) -> None:
        """Thoughts are printed as they come: nothing folds here."""

    def set_place(self, message_id: str, place: int, count: int) -> None:
        """`/previous` and `/next` tell it."""

    def session_changed(self) -> None:
        """No list is shown."""

    def status_changed(self) -> None:
        """What the program is at is told by whoever waits for it."""
