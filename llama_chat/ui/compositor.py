"""Draws less for a small change than Textual does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual._compositor import Compositor, ReflowResult
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

TESTED = "8.2."
"""The versions of Textual whose compositor this one knows from the inside."""


def look_at_version() -> None:
    """Let frugal compositors save work from now on, if this Textual is of a version that was tested."""
    from importlib.metadata import version  # 15 ms, which the first paint does without

    FrugalCompositor.is_tested = version("textual").startswith(TESTED)


class FrugalCompositor(Compositor):
    """Draws anew only the rows that changed, of the widgets that are there.

    Textual's own draws every widget between the first changed row and the last. While a reply is written
    those are in the transcript and the status bar, so it draws the whole screen, sliders too, for each word.
    """

    is_tested = False
    """Set by `look_at_version`; before, and with other versions, all is drawn as Textual does."""

    def __init__(self) -> None:
        super().__init__()
        self._changed: Sequence[Region] = ()

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        """Lay out; whoever has another size than it knows of is told.

        Textual's own tells those that had another size in the map before. Where something asked for a place
        between the change of a style and the layout, while a reply scrolled, the map was made anew already:
        a side panel came and the transcript kept the old width (8.2.8, 2026-11-22).
        """
        found = super().reflow(parent, size)
        unaware = {
            widget for widget, geometry in self.full_map.items() if widget.outer_size != geometry.region.size
        }
        return found._replace(resized=found.resized | (unaware - found.shown))

    def render_partial_update(self):  # type: ignore[no-untyped-def]  # ChopsUpdate | None is not exported
        """What is sent to the terminal for the regions that changed."""
        if not self.is_tested:
            return super().render_partial_update()
        self._changed = tuple(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._changed = ()

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Region, clip and strips of what is drawn, the foremost widget first."""
        if not self._changed:
            yield from super()._get_renders(crop)
            return
        drawn: list[Region] = []
        for widget, (region, clip) in self.visible_widgets.items():
            shown = region.intersection(clip)
            touched = [part.line_span for changed in self._changed if (part := shown.intersection(changed))]
            for top, end in _merged(touched):
                part = Region(shown.x, top, shown.width, end - top)
                if any(before.contains_region(part) for before in drawn):
                    continue  # it lies behind that, as most containers do
                strips = widget.render_lines(part.translate(-region.offset))
                if strips and strips[0].cell_length >= part.width:
                    drawn.append(part)  # else it does not know its size yet, and drew nothing
                yield region, part, strips


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same rows, none of them twice."""
    merged: list[tuple[int, int]] = []
    for top, end in sorted(spans):
        if merged and top <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((top, end))
    return merged
