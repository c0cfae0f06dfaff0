"""A card to write the system prompt of the chat in."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TextArea

from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.prompt import without_controls

_HINTS = (
    "Ctrl+S keeps the text (empty means none) · Esc drops the changes",
    "Ctrl+S keeps it · Esc drops changes",
    "Ctrl+S keep · Esc drop",
)


class SystemPromptScreen(Card[str]):
    """Edit the text; the result is the new one, None when it was left as it is."""

    DEFAULT_CSS = """
    SystemPromptScreen > .card { height: 20; }
    SystemPromptScreen TextArea {
        height: 1fr;
        background: $background;
        border: round $foreground 20%;
        &:focus { border: round $primary 70%; }
        & .text-area--cursor-line { background: transparent; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Keep the text", show=False, priority=True)
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Title, text, hint."""
        with Vertical(classes="card"):
            yield Static(Content("System prompt of this chat"), classes="title")
            yield TextArea(
                without_controls(self._text),
                highlight_cursor_line=False,
                placeholder=Content("You are a helpful assistant."),
            )
            yield FittingLine(*_HINTS, classes="hint")

    def on_mount(self) -> None:
        """Begin at the end of the text."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def action_save(self) -> None:
        """Keep the text."""
        self.dismiss(self.query_one(TextArea).text.strip())
