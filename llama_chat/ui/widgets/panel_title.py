"""The line over the sliders: how many differ from their defaults, and which preset they equal."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message

from llama_chat.ui.widgets.fitting import FittingLine, cut, first_fitting

MARK = " ▾"


class PanelTitle(FittingLine):
    """Words at the left, the preset at the right, which a click chooses another for."""

    preset = ""

    class Clicked(Message):
        """The user wants another preset."""

    def show_preset(self, name: str) -> None:
        """Name the preset that the values equal; empty for none."""
        if name != self.preset:
            self.preset = name
            self.refresh()

    def render(self) -> Content:
        """Both ends; the words give way first."""
        width = self.content_size.width
        if not self.preset:
            return Content(first_fitting(self._wordings, width))
        right = cut(self.preset, max(1, width // 2 - len(MARK))) + MARK
        left = first_fitting((*self._wordings, ""), max(0, width - len(right) - 1))
        gap = " " * max(0, width - Content(left).cell_length - len(right))
        return Content.assemble(left, gap, (right, "$accent"))

    def on_click(self, event: events.Click) -> None:
        """Ask for another preset."""
        if self.preset:
            event.stop()
            self.post_message(self.Clicked())
