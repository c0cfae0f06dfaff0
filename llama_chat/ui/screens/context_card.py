"""A card that says what is in the context, part by part, each with a bar of its share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from llama_chat.chat.context.figures import FREE, REUSED, ContextRow
from llama_chat.chat.live import Status
from llama_chat.ui.rebinding import ChatKeys
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.status_bar import meter

GAP = 2
LEAST_BAR_CELLS = 6
"""A narrower bar says nothing: then there is none."""


def row_lines(rows: Sequence[ContextRow], length: int, width: int) -> list[Content]:
    """A line a row: its name, its count, and its share of the context."""
    name_cells = max((cell_len(row.name) for row in rows), default=0)
    figure_cells = max((cell_len(row.figure) for row in rows), default=0)
    bar_cells = width - name_cells - figure_cells - 2 * GAP - 2
    lines: list[Content] = []
    for above, row in pairwise([None, *rows]):
        assert row is not None
        if above is not None and above.is_part and not row.is_part:
            lines.append(Content(""))
        figure = row.figure.rjust(figure_cells)
        line = Content.assemble((row.name.ljust(name_cells + GAP), "$foreground 70%"), figure)
        if length and bar_cells >= LEAST_BAR_CELLS:
            bar = meter(row.tokens / length, bar_cells, reused=float(row.name == REUSED))
            style = "$primary" if row.is_part and row.name != FREE else "$foreground 40%"
            line += Content.assemble(
                " " * GAP, ("▕", "$foreground 30%"), (bar, style), ("▏", "$foreground 30%")
            )
        lines.append(line)
    return lines


class _Rows(Widget):
    """The lines, for the width that there is."""

    DEFAULT_CSS = "_Rows { height: auto; padding: 0 1; }"

    def __init__(self, rows: Sequence[ContextRow], length: int) -> None:
        super().__init__()
        self._rows = rows
        self._length = length

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(row_lines(self._rows, self._length, self.content_size.width))


class ContextScreen(Card[str]):
    """Shows the rows; the result is the action that is wanted next.

    Args:
        rows: from `context_rows`.
        status: of the moment.
        keys: those in force.
    """

    DEFAULT_CSS = """
    ContextScreen VerticalScroll { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,q", "leave", "Back", show=False)]

    def __init__(self, rows: Sequence[ContextRow], status: Status, keys: ChatKeys) -> None:
        super().__init__()
        for action in ("compact", "context"):
            for key in keys.keys_of(action):
                self._bindings.bind(key, f"take('{action}')", show=False)
        self._rows = rows
        self._status = status
        self._compact_key = keys.name_of("compact")

    def compose(self) -> ComposeResult:
        """Title, rows, hint."""
        length, used = self._status.context_length, self._status.context_used
        about = "≈ " if self._status.is_estimate else ""
        share = f"   {about}{used:,} of {length:,} tokens, {100 * used // length} %" if length else ""
        with Vertical(classes="card"):
            yield Static(Content.assemble(("Context", "bold"), (share, "$foreground 50%")), classes="title")
            with VerticalScroll():
                if self._rows:
                    yield _Rows(self._rows, length)
                else:
                    yield Static(Content("The model is not there yet, and nothing was said."), classes="hint")
            shortens = f"{self._compact_key} lets the model summarise the older part"
            yield FittingLine(
                f"{shortens} · Esc back", f"{self._compact_key} compact · Esc back", classes="hint"
            )

    def action_take(self, action: str) -> None:
        """Leave, and do this; the key that has opened the card only closes it."""
        self.dismiss(action if action != "context" else None)
