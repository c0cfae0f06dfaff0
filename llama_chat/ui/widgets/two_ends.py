"""One line with something at both ends, laid out anew for every width."""

from __future__ import annotations

from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

GAP_CELLS = 2
LEFT_CELLS = 30
"""So much room for the left end counts more than the right one."""


class TwoEnds(Visual):
    """The left end, cut where need be; the right end where that leaves room enough.

    Args:
        left: what counts.
        right: what is good to know; empty for nothing.
    """

    def __init__(self, left: Content, right: Content) -> None:
        self.left = left
        self.right = right

    @property
    def plain(self) -> str:
        """The text of both ends."""
        return f"{self.left.plain}{' ' * GAP_CELLS}{self.right.plain}"

    def line(self, width: int) -> Content:
        """What is shown in so many cells."""
        room = width - self.right.cell_length - GAP_CELLS
        if not self.right or room < min(LEFT_CELLS, self.left.cell_length):
            return self.left.truncate(width, ellipsis=True)
        left = self.left.truncate(room, ellipsis=True)
        return left + Content(" " * (width - left.cell_length - self.right.cell_length)) + self.right

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """The one line."""
        return self.line(width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """All of both ends."""
        return Content(self.plain).get_optimal_width(rules, container_width)

    def get_height(self, rules: RulesMap, width: int) -> int:  # noqa: ARG002  (as Visual has it)
        """One line."""
        return 1
