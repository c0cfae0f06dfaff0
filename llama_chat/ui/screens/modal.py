"""What the small screens over the chat share: a card that leaves the prompt whole, and Esc to leave."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

_WIDTHS = [(0, "-narrow"), (100, "-wide")]
ROOMY_ROWS = 18
_HEIGHTS = [(0, "-low"), (ROOMY_ROWS, "-roomy")]

Result = TypeVar("Result")


class Card(ModalScreen[Result | None]):
    """A card over the transcript; Esc, Ctrl+C and a click beside it leave without a result.

    It stands between the header and the prompt, from side to side on a narrow screen. On a low one it
    takes all of the screen, but keeps its hint: the line that says how to leave.
    """

    DEFAULT_CSS = """
    Card {
        align: center middle;
        background: $background 60%;
        & > .card {
            width: 76;
            max-width: 96%;
            height: auto;
            max-height: 100%;
            padding: 1 2;
            background: $surface;
            border-left: outer $primary;
        }
        & .title { text-style: bold; color: $foreground; padding: 0 1; margin-bottom: 1; }
        & .hint { color: $foreground 50%; padding: 0 1; margin-top: 1; }
        &.-narrow > .card { width: 100%; max-width: 100%; }
        &.-low {
            & > .card { height: 100%; padding: 0 1; }
            & .title { margin-bottom: 0; }
            & .hint { margin-top: 0; }
            & FilterList > Input { margin: 0 1; }
        }
    }
    """

    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Back", show=False),
    ]

    def on_mount(self) -> None:
        """Keep off the prompt from the first frame on."""
        self._stay_above_prompt()

    def on_resize(self) -> None:
        """Keep off the prompt, which finds its new place a moment later than the card."""
        self.call_after_refresh(self._stay_above_prompt)

    def _stay_above_prompt(self) -> None:
        below = self.app.screen_stack[0].query("#prompt-row")
        rows = self.app.size.height
        is_roomy = bool(below) and rows >= ROOMY_ROWS
        free_rows = rows - below.first().region.y if is_roomy else 0
        self.query_one(".card").styles.margin = (int(is_roomy), 0, free_rows, 0)

    def action_leave(self) -> None:
        """Go back to the chat without a result."""
        self.dismiss(None)
