"""The steps of a walk: a list beside the picture, or one line above it."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.strip import Strip
from textual.widget import Widget

from llama_chat.drawing.views import Step
from llama_chat.ui.palette import Palette
from llama_chat.ui.widgets.fitting import cut

LIST_CELLS = 26


def short_title(step: Step) -> str:
    """Without what explains it: `RoPE`."""
    return re.split(r"[:,]", step.title)[0]


class StepList(Widget, can_focus=True):
    """All steps, those within a layer and within a head indented; in one line, the one that is shown."""

    DEFAULT_CSS = """
    StepList { height: 1fr; background: transparent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Step before", show=False),
        Binding("down", "move(1)", "Next step", show=False),
        Binding("home", "move(-100)", "First step", show=False),
        Binding("end", "move(100)", "Last step", show=False),
    ]

    class Moved(TextualMessage):
        """Another step is wanted, so many further."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self) -> None:
        super().__init__()
        self._steps: tuple[Step, ...] = ()
        self._at = 0
        self._palette: Palette | None = None

    def show(self, steps: tuple[Step, ...], at: int) -> None:
        """Show the steps, the cursor on this one."""
        self._steps, self._at = steps, at
        self.refresh()

    def action_move(self, by: int) -> None:
        """Ask for another step."""
        self.post_message(self.Moved(by))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The next step."""
        event.stop()
        self.action_move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The step before."""
        event.stop()
        self.action_move(-1)

    def on_click(self, event: events.Click) -> None:
        """The step under the mouse."""
        place = event.y + self._top
        if self.size.height > 1 and place < len(self._steps):
            self.action_move(place - self._at)

    @property
    def _top(self) -> int:
        """The first step that is seen."""
        height = max(1, self.size.height)
        return max(0, min(self._at - height // 2, len(self._steps) - height))

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._palette = None
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """A step."""
        place, width = y + self._top, self.size.width
        base = self.visual_style
        if place >= len(self._steps):
            return Strip.blank(width, base.rich_style)
        palette = self._palette = self._palette or Palette(self.app.theme_variables)
        is_chosen = place == self._at
        content = self._line(self._steps[place], place, width, is_chosen=is_chosen)
        if is_chosen and self.size.height > 1:
            base += palette.style("chosen")
        parts = content.render(base, end="", parse_style=palette.style)
        strip = Strip([Segment(text, style.rich_style) for text, style in parts])
        return strip.adjust_cell_length(width, base.rich_style)

    def _line(self, step: Step, place: int, width: int, *, is_chosen: bool) -> Content:
        sign = ("▸" if self.has_focus else "·") if is_chosen else " "
        number = f"{place + 1:2d} "
        if self.size.height == 1:
            of = f"step {place + 1} of {len(self._steps)}  "
            return Content.assemble(
                (f"{sign} {of}", "meta"), (cut(step.title, width - len(of) - 2), "strong")
            )
        indent = "  " * (step.in_layer + step.in_head)
        title = cut(short_title(step), width - 5 - len(indent))
        style = "strong" if is_chosen else ""
        return Content.assemble((f"{sign}{number}", "meta"), indent, (title, style))
