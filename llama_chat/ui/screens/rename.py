"""A small card to type the name of a session into."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.sanitize import one_line
from llama_chat.ui.screens.modal import Card

MOST_LETTERS = 200


class RenameScreen(Card[str]):
    """Edit a name; the result is the new one."""

    DEFAULT_CSS = """
    RenameScreen.-low > .card { height: auto; }
    RenameScreen Input {
        border: none;
        height: 1;
        margin: 0 1;
        padding: 0;
        background: transparent;
        &:focus { border: none; background-tint: $foreground 0%; }
    }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        """Title, name, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Name of the session"), classes="title")
            yield Input(one_line(self._title), placeholder="a name", max_length=MOST_LETTERS, compact=True)
            yield Static(Content("Enter keeps it · Esc back"), classes="hint")

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(one_line(event.value) or None)
