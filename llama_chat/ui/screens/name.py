"""A small card to type a name into, which may be asked about before it is taken."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.errors import UsageError
from llama_chat.sanitize import one_line, sanitize
from llama_chat.ui.screens.modal import Card

_HINT = "Enter keeps it · Esc back"


def _nothing_to_ask(_name: str) -> str:
    return ""


class NameScreen(Card[str]):
    """Type a name; the result is one that can be had.

    Args:
        title: what is named.
        name: what stands there at first.
        placeholder: an example.
        most_letters: how long it can be.
        question: what a second Enter says yes to, empty for nothing; raises `UsageError` for a name that
            cannot be had.
    """

    DEFAULT_CSS = """
    NameScreen.-low > .card { height: auto; }
    NameScreen .hint.-error { color: $text-warning; }
    NameScreen Input {
        border: none;
        height: 1;
        margin: 0 1;
        padding: 0;
        background: $panel;
        &:focus { border: none; background-tint: $foreground 0%; }
    }
    """

    def __init__(
        self,
        title: str,
        name: str = "",
        *,
        placeholder: str = "a name",
        most_letters: int = 60,
        question: Callable[[str], str] = _nothing_to_ask,
    ) -> None:
        super().__init__()
        self._title = title
        self._first_name = name
        self._placeholder = placeholder
        self._most_letters = most_letters
        self._question = question
        self._asked_of: str | None = None

    def compose(self) -> ComposeResult:
        """Title, name, hint."""
        with Vertical(classes="card"):
            yield Static(Content(self._title), classes="title")
            yield Input(
                one_line(self._first_name),
                placeholder=self._placeholder,
                max_length=self._most_letters,
                compact=True,
            )
            yield Static(Content(_HINT), classes="hint")

    def _say(self, words: str, *, is_error: bool) -> None:
        hint = self.query_one(".hint", Static)
        hint.set_class(is_error, "-error")
        hint.update(Content(sanitize(words)))

    @on(Input.Changed)
    def _say_nothing(self) -> None:
        self._say(_HINT, is_error=False)

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        name = one_line(event.value)
        if not name:
            self.dismiss(None)
            return
        try:
            question = self._question(name)
        except UsageError as error:
            self._say(str(error), is_error=True)
            return
        if question and self._asked_of != name:
            self._asked_of = name
            self._say(question, is_error=True)
        else:
            self.dismiss(name)
