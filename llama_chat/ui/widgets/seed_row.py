"""The seed among the sliders: locked to a number, or a fresh one for every reply."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from llama_chat.chat.picks.seeds import FRESH_SEED, parse_seed, toggled_seed
from llama_chat.errors import UsageError
from llama_chat.ui.widgets.fitting import first_fitting
from llama_chat.ui.widgets.slider import label_cells
from llama_chat.ui.widgets.typed_value import TypedValue

LABEL = "seed"
HELP = (
    "Where the chances of a reply come from: the same seed, words and settings give the same reply. "
    "It counts from the next reply."
)


class SeedRow(TypedValue):
    """As high as a slider beside it.

    Args:
        compact: one line, for a sheet.
    """

    DEFAULT_CSS = """
    SeedRow {
        height: 2;
        padding: 0 1;
        color: $foreground;
        &:focus { background: $boost; }
        &.-compact { height: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "lock_or_free", "Lock the last one, or free it", show=False),
        Binding("left", "step(-1)", "One less", show=False),
        Binding("right", "step(1)", "One more", show=False),
        Binding("delete", "reset", "Back to the default", show=False),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    seed: reactive[int] = reactive(FRESH_SEED)
    """-1: a fresh one for every reply."""
    last: reactive[int | None] = reactive(None)
    """That of the last reply."""

    class Wanted(Message):
        """The user wants this seed; -1 for fresh ones."""

        def __init__(self, seed: int) -> None:
            super().__init__()
            self.seed = seed

    class Refused(Message):
        """It cannot be had."""

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    def __init__(self, *, compact: bool = False) -> None:
        super().__init__(id="slider-seed")
        self.is_compact = compact
        self.set_class(compact, "-compact")
        self.tooltip = Content(HELP)

    @property
    def is_changed(self) -> bool:
        """Whether it is another than the default."""
        return self.seed != FRESH_SEED

    # --- how it looks ---------------------------------------------------------------------------------

    @property
    def _values(self) -> tuple[str, ...]:
        """What it says of itself, the longest wording first."""
        if self.typed:
            return (f"{self.typed}▏",)
        if self.is_changed:
            return f"{self.seed} locked", f"{self.seed}"
        if self.last is None:
            return ("fresh",)
        return f"fresh (last {self.last})", "fresh"

    @property
    def _keys(self) -> tuple[str, ...]:
        """What can be done with it, or from when on it counts."""
        if not self.has_focus:
            return "counts from the next reply", "from the next reply", ""
        if self.is_changed:
            return "Enter frees it · 0…9 another", "Enter frees it", ""
        if self.last is None:
            return "0…9 locks it", ""
        return "Enter locks the last · 0…9 any", "Enter locks it", ""

    def render(self) -> Content:
        """The name, what it is, a mark when it is not the default, and what can be done."""
        width = self.content_size.width
        value = first_fitting(self._values, max(1, width - len(LABEL) - 2))
        value_style = "$accent bold" if self.is_changed or self.typed else "bold"
        mark = ("•" if self.is_changed else " ", "$accent")
        name_style = "$accent" if self.has_focus else "$foreground 80%"
        if not self.is_compact:
            name = LABEL.ljust(max(0, width - len(value) - 1))
            return Content.assemble(
                (name, name_style), (value, value_style), mark, "\n", (self._told(width), "$foreground 50%")
            )
        column = label_cells(width)
        told = self._told(width - column - len(value) - 3)
        gap = " " * max(0, width - column - len(told) - len(value) - 1)
        name = LABEL.ljust(min(column, max(0, width - len(value) - 1)))
        return Content.assemble(
            (name, name_style), (told, "$foreground 50%"), gap, (value, value_style), mark
        )

    def _told(self, cells: int) -> str:
        return first_fitting(self._keys, max(0, cells))

    # --- keyboard and mouse ---------------------------------------------------------------------------

    def action_lock_or_free(self) -> None:
        """Lock the seed of the last reply, or free it."""
        try:
            self.post_message(self.Wanted(toggled_seed(self.seed, last=self.last)))
        except UsageError as error:
            self.post_message(self.Refused(str(error)))

    def action_step(self, step: int) -> None:
        """The seed beside the one that is locked."""
        if self.is_changed and 0 <= self.seed + step < 2**32:
            self.post_message(self.Wanted(self.seed + step))

    def action_reset(self) -> None:
        """Fresh seeds again."""
        self.typed = ""
        self.post_message(self.Wanted(FRESH_SEED))

    def take(self, typed: str) -> None:
        """Lock this seed."""
        try:
            self.post_message(self.Wanted(parse_seed(typed, last=self.last)))
        except UsageError as error:
            self.post_message(self.Refused(str(error)))

    def on_click(self, event: events.Click) -> None:
        """A click locks or frees; a double click is back at the default."""
        event.stop()
        if event.chain == 2:
            self.action_reset()
        elif event.chain == 1:
            self.action_lock_or_free()
