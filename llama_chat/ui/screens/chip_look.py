"""A card that shows what a chip of the prompt holds."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llama_chat.sanitize import one_line, sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.chips import Chip
from llama_chat.ui.widgets.fitting import FittingLine

SHOWN_CHARACTERS = 20_000
"""More than anybody reads in a card; what is beyond is counted only."""


class ChipScreen(Card[str]):
    """Read it; the result is `unfold`, `drop` or nothing.

    Args:
        chip: that is looked at.
        tokens: that it has, where they are counted.
    """

    DEFAULT_CSS = """
    ChipScreen > .card { height: 80%; max-height: 36; }
    ChipScreen.-wide > .card { width: 96; }
    ChipScreen.-low > .card { height: 100%; }
    ChipScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "unfold", show=False, priority=True),
        Binding("delete,backspace", "drop", show=False, priority=True),
    ]

    def __init__(self, chip: Chip, tokens: int | None) -> None:
        super().__init__()
        self._chip = chip
        self._tokens = tokens

    def compose(self) -> ComposeResult:
        """What it is, its text, what can be done."""
        chip = self._chip
        figures = f"{len(chip.text):,} characters · {chip.text.count(chr(10)) + 1:,} lines"
        figures += f" · {self._tokens:,} tokens" if self._tokens is not None else ""
        with Vertical(classes="card"):
            name = one_line(chip.name) or "pasted"
            last = figures.rpartition(" · ")[2]
            yield FittingLine(f"{name}   {figures}", f"{name}   {last}", classes="title")
            with VerticalScroll() as scroll:
                scroll.can_focus = True
                yield Static(Content(_beginning(chip.text)))
            unfold = "Enter puts it into the text · " if chip.can_unfold else ""
            yield FittingLine(
                f"{unfold}Del takes it out · Esc back",
                f"{'Enter unfolds · ' if unfold else ''}Del · Esc",
                classes="hint",
            )

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def action_unfold(self) -> None:
        """Put its text into the prompt, where the prompt stays quick with it."""
        if self._chip.can_unfold:
            self.dismiss("unfold")

    def action_drop(self) -> None:
        """Take it out of the prompt."""
        self.dismiss("drop")


def _beginning(text: str) -> str:
    rest = len(text) - SHOWN_CHARACTERS
    shown = sanitize(text[:SHOWN_CHARACTERS]).expandtabs(4)
    return f"{shown}\n\n… {rest:,} more characters" if rest > 0 else shown
