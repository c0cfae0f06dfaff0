"""What the small screens over the chat share: a card in the middle, and Esc to leave."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

_HEIGHTS = [(0, "-low"), (18, "-roomy")]

Result = TypeVar("Result")


class Card(ModalScreen[Result | None]):
    """A card over the chat; Esc, Ctrl+C and a click beside it leave without a result."""

    DEFAULT_CSS = """
    Card {
        align: center middle;
        background: $background 60%;
        & > .card {
            width: 76;
            max-width: 96%;
            height: auto;
            max-height: 90%;
            padding: 1 2;
            background: $surface;
            border-left: outer $primary;
        }
        &.-low > .card {
            width: 100%;
            max-width: 100%;
            max-height: 100%;
            padding: 0 1;
        }
        &.-low .title { margin-bottom: 0; }
        &.-low .hint { display: none; }
        & .title { text-style: bold; color: $foreground; padding: 0 1; margin-bottom: 1; }
        & .hint { color: $foreground 50%; padding: 0 1; margin-top: 1; }
    }
    """

    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Back", show=False),
    ]

    def action_leave(self) -> None:
        """Go back to the chat without a result."""
        self.dismiss(None)
