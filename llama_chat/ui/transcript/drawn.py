"""Lines that were drawn before, to be drawn again as they were."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from textual.css.styles import StylesBase
from textual.strip import Strip

MOST_LINES = 512
"""More than a screen has; those that are not drawn any more are forgotten with the rest."""


class DrawnLines:
    """Strips that were made of other strips: Textual keeps what it works out for one with that one only."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Strip, object, Strip]] = {}

    def get(self, key: int, source: Strip, look: object, make: Callable[[], Strip]) -> Strip:
        """What was made of the source for this look, or is made now.

        Args:
            key: the place of the line.
            source: what it is made of; another strip, even an equal one, is another line.
            look: what else it depends on.
            make: makes it.
        """
        known = self._known.get(key)
        if known is None or known[0] is not source or known[1] != look:
            if len(self._known) >= MOST_LINES:
                self._known.clear()
            known = self._known[key] = source, look, make()
        return known[2]


def is_bare(styles: StylesBase) -> bool:
    """Whether nothing is drawn around the lines of a widget, or over them."""
    return (
        not any(styles.gutter)
        and not any(edge for edge, _ in styles.outline)
        and styles.text_opacity == 1.0
        and not styles.tint.a
        and styles.hatch in (None, "none")
    )


def thumb_of(height: int, total: int, top: float) -> tuple[int, int]:
    """Where Textual draws the thumb of a scrollbar, in eighths of a row: its begin and its end.

    Args:
        height: rows of the view and of the scrollbar.
        total: rows that there are.
        top: the first row in the view.
    """
    if total <= height:
        return 0, 0
    length = max(1.0, height * height / total)
    start = int((height - length) * top / (total - height) * 8)
    return start, start + ceil(8 * length)
