"""A list of options whose marked row can be told where there are no colours."""

from __future__ import annotations

from dataclasses import replace

from textual.style import Style
from textual.widgets import OptionList


class Options(OptionList):
    """Textual's list, which reverses what its CSS says is reversed.

    Without that, the marked row looked like the others under `NO_COLOR` and with the terminal's own colours:
    `get_visual_style` takes over bold, italic and the rest, but not reverse (Textual 8.2.8).
    """

    def get_visual_style(self, *component_classes: str, partial: bool = False) -> Style:
        """The style of a part, as its CSS has it."""
        style = super().get_visual_style(*component_classes, partial=partial)
        if any(self.get_component_styles(name).text_style.reverse for name in component_classes):
            return replace(style, reverse=True)
        return style
