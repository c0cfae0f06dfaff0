"""Colours of numbers in the theme: from its background to blue above zero, to orange below.

Both hues are told apart with any colour vision. Where colours cannot be mixed (ansi themes) or are not wanted
(NO_COLOR), characters stand for the numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color

from llama_chat.drawing.shading import glyph, strength
from llama_chat.drawing.views import Grid

LEVELS = 24
"""Shades of a hue: more are not told apart, and each is one style."""

_ABOVE = (Color.parse("#2f81d6"), Color.parse("#d6ecff"))
_BELOW = (Color.parse("#d9801f"), Color.parse("#ffe7c7"))
_ABOVE_LIGHT = (Color.parse("#5aa0e0"), Color.parse("#0b2f66"))
_BELOW_LIGHT = (Color.parse("#e59a45"), Color.parse("#6b3200"))
_HALFWAY = 0.6
"""Strength at which the hue is at its purest; beyond it goes on to the end of the scale."""


class Shades:
    """The shades of one theme.

    Args:
        variables: the theme's.
        is_dark: whether its background is.
    """

    def __init__(self, variables: Mapping[str, str], *, is_dark: bool) -> None:
        background = variables.get("background", "")
        self.has_colours = background.startswith("#") and not os.environ.get("NO_COLOR")
        self._base = Color.parse(background) if self.has_colours else Color(0, 0, 0)
        self._above = _ABOVE if is_dark else _ABOVE_LIGHT
        self._below = _BELOW if is_dark else _BELOW_LIGHT
        self._ink = Color.parse("#ffffff" if is_dark else "#000000")
        self._cut = self._base.blend(self._ink, 0.12)
        self._colours: dict[int, Color] = {}
        self._styles: dict[tuple[int, ...], Style] = {}

    def level(self, grid: Grid, value: float) -> int:
        """-24 to 24; one less for what the mask has cut."""
        return -LEVELS - 1 if value == -math.inf else round(strength(grid, value) * LEVELS)

    def _colour(self, level: int) -> Color:
        found = self._colours.get(level)
        if found is None:
            found = self._colours[level] = self._mixed(level)
        return found

    def _mixed(self, level: int) -> Color:
        if level < -LEVELS:
            return self._cut
        pure, end = self._above if level >= 0 else self._below
        strong = abs(level) / LEVELS
        if strong <= _HALFWAY:
            return self._base.blend(pure, strong / _HALFWAY)
        return pure.blend(end, (strong - _HALFWAY) / (1 - _HALFWAY))

    def cell(self, level: int) -> Style:
        """The background of a cell, and an ink that is read on it."""
        found = self._styles.get((level,))
        if found is None:
            colour = self._colour(level)
            found = Style(color=_rich(colour.get_contrast_text(1.0)), bgcolor=_rich(colour))
            self._styles[level,] = found
        return found

    def halves(self, upper: int, lower: int) -> Style:
        """Two cells in one character, the upper half block."""
        found = self._styles.get((upper, lower))
        if found is None:
            found = Style(color=_rich(self._colour(upper)), bgcolor=_rich(self._colour(lower)))
            self._styles[upper, lower] = found
        return found

    def sign(self, grid: Grid, value: float) -> str:
        """The character that stands for the number, where there are no colours."""
        return glyph(grid, value)


def _rich(colour: Color) -> RichColor:
    return RichColor.from_rgb(colour.r, colour.g, colour.b)
