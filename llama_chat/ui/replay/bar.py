"""The player's bar: whether it plays, where it stands, and how fast; a click on it goes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.replay import Player, clock

SIGN_CELLS = 3
RAIL_CELLS = 8
"""The rail goes before the lesser figures while it is shorter."""
SPEED_CELLS = len("×0.25")
MOST_MARKS = 40
"""More would be a line of marks."""


@dataclass(frozen=True, slots=True)
class BarView:
    """What the bar shows; equal views look the same."""

    sign: str
    fraction: float
    at: str
    total: str
    speed: str
    tokens: int
    all_tokens: int

    @classmethod
    def of(cls, player: Player) -> BarView:
        """The view of a player as it stands."""
        timeline = player.timeline
        total = clock(timeline.total_s)
        return cls(
            sign="▶" if player.is_playing else "■" if player.is_at_end else "❚❚",
            fraction=player.fraction,
            at=clock(player.position_s).rjust(len(total)),
            total=total,
            speed=f"×{player.speed:g}",
            tokens=timeline.moments[player.count - 1].tokens,
            all_tokens=timeline.token_count,
        )

    def figures(self) -> tuple[str, ...]:
        """What stands at the right, the longest wording first; each as wide at every moment."""
        times = f"{self.at} / {self.total}"
        speed = self.speed.ljust(SPEED_CELLS)
        tokens = f"{self.tokens:,}".rjust(len(f"{self.all_tokens:,}")) + f" / {self.all_tokens:,}"
        return (
            f"  {times}   {speed}  {tokens} tokens",
            f"  {times}  {speed} {tokens}",
            f" {times}  {speed}",
            f" {self.at} {self.speed}",
        )


class PlayerBar(Widget):
    """One line: a sign, the rail with a mark for each of the user's messages, figures.

    Args:
        marks: where the user's messages stand, 0 to 1.
    """

    DEFAULT_CSS = """
    PlayerBar {
        height: 3;
        max-width: 104;
        padding: 0 1;
        border: round $foreground 20%;
    }
    """

    view: reactive[BarView | None] = reactive(None)

    class Toggled(Message):
        """The sign was clicked."""

    class Sought(Message):
        """A place on the rail was clicked, or the knob was dragged to it."""

        def __init__(self, fraction: float) -> None:
            super().__init__()
            self.fraction = fraction

    def __init__(self, marks: Sequence[float] = ()) -> None:
        super().__init__()
        self._marks = list(marks) if len(marks) <= MOST_MARKS else []
        self._is_dragged = False

    def _layout(self) -> tuple[int, str]:
        """Cells of the rail, and the figures beside it."""
        width = self.content_size.width - SIGN_CELLS
        assert self.view is not None
        wordings = self.view.figures()
        fitting = (words for words in wordings if width - cell_len(words) >= max(RAIL_CELLS, width // 3))
        words = next(fitting, wordings[-1])
        return max(1, width - cell_len(words)), words

    def render(self) -> Content:
        """Sign, rail, figures."""
        view = self.view
        if view is None:
            return Content("")
        cells, words = self._layout()
        knob = _cell_of(view.fraction, cells)
        rail = ["─"] * cells
        for mark in self._marks:
            rail[_cell_of(mark, cells)] = "┴"
        line = "".join(rail)
        return Content.assemble(
            (view.sign.ljust(SIGN_CELLS), "$accent bold" if view.sign == "▶" else "$foreground bold"),
            (line[:knob].replace("─", "━"), "$primary"),
            ("●", "$primary bold"),
            (line[knob + 1 :], "$foreground 35%"),
            (words, "$foreground 70%"),
        )

    # --- the mouse --------------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Pause or go on at the sign; go to where the rail was clicked, and follow the mouse from there."""
        offset = event.get_content_offset(self)
        if offset is None or self.view is None:
            return
        event.stop()
        if offset.x < SIGN_CELLS:
            self.post_message(self.Toggled())
        elif offset.x < SIGN_CELLS + self._layout()[0]:
            self.capture_mouse()
            self._is_dragged = True
            self._seek_column(offset.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse."""
        if self._is_dragged:
            self._seek_column(event.x - self.gutter.left)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let go."""
        if self._is_dragged:
            self._is_dragged = False
            self.release_mouse()
            event.stop()

    def _seek_column(self, x: int) -> None:
        cells = self._layout()[0]
        fraction = (x - SIGN_CELLS) / max(1, cells - 1)
        self.post_message(self.Sought(min(max(fraction, 0.0), 1.0)))


def _cell_of(fraction: float, cells: int) -> int:
    return min(cells - 1, round(fraction * (cells - 1)))
