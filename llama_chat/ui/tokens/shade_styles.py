"""How a shade looks: backgrounds of one hue from the theme's own to its strongest; without colours, lines.

One hue from weak to strong is told apart by its lightness alone, so nobody needs to see red or green.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.color import Color as RichColor
from rich.style import Style as RichStyle
from textual.color import Color

from llama_chat.distribution.shades import LEVELS

STRONGEST_BLEND = 0.9
"""The strongest shade has so much of the theme's primary colour."""
_BLACK, _WHITE = Color(0, 0, 0), Color(255, 255, 255)
_BANDS = (
    RichStyle(dim=True),
    RichStyle(),
    RichStyle(underline=True),
    RichStyle(underline=True, bold=True),
)
"""Where there are no colours to mix: four shades, the palest first."""
_CURSOR_WITHOUT_COLOURS = RichStyle(reverse=True, bold=True)


class ShadeStyles:
    """The styles of one theme.

    Args:
        variables: the theme's.
        has_colours: off where the terminal shall have none.
    """

    def __init__(self, variables: Mapping[str, str], *, has_colours: bool = True) -> None:
        primary, background = variables.get("primary", ""), variables.get("background", "")
        self.are_plain = not has_colours or primary.startswith("ansi") or background.startswith("ansi")
        """Whether shades are lines, not colours."""
        if self.are_plain:
            self.unknown = RichStyle()
            self.cursor = _CURSOR_WITHOUT_COLOURS
            self._levels = tuple(_BANDS[level * len(_BANDS) // LEVELS] for level in range(LEVELS))
            return
        weak, strong = Color.parse(background), Color.parse(primary)
        text = Color.parse(variables.get("foreground", "#ffffff"))
        self.unknown = RichStyle(color=_rich(text), italic=True)
        self.cursor = RichStyle(color=_rich(weak), bgcolor=_rich(text), bold=True)
        backgrounds = [weak.blend(strong, STRONGEST_BLEND * level / (LEVELS - 1)) for level in range(LEVELS)]
        self._levels = tuple(
            RichStyle(color=_rich(_readable(shade, text, weak)), bgcolor=_rich(shade))
            for shade in backgrounds
        )

    def of(self, level: int | None) -> RichStyle:
        """The style of a level, from 0 to 31; of None, which is not known."""
        return self.unknown if level is None else self._levels[level]


def _readable(background: Color, *wanted: Color) -> Color:
    """The first of the wanted colours that is read well on it; else black or white, whichever is better."""
    good = (colour for colour in wanted if contrast(colour, background) >= GOOD_CONTRAST)
    return next(good, max(_BLACK, _WHITE, key=lambda colour: contrast(colour, background)))


GOOD_CONTRAST = 4.5
"""Of text to its background (WCAG 2.2, 1.4.3)."""


def contrast(first: Color, second: Color) -> float:
    """From 1, alike, to 21, black on white (WCAG 2.2)."""
    lights = sorted((_luminance(first), _luminance(second)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour: Color) -> float:
    parts = (part / 255 for part in (colour.r, colour.g, colour.b))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _rich(colour: Color) -> RichColor:
    return RichColor.from_rgb(colour.r, colour.g, colour.b)
