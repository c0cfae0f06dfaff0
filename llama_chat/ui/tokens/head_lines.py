"""What stands over the tokens: figures of the message, a legend of the shades, lines along the reply."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.tokens.words import figures_of_sheet
from llama_chat.distribution.figures import sparkline
from llama_chat.distribution.shades import LEGENDS, LEVELS, Shade
from llama_chat.ui.tokens.shade_styles import ShadeStyles
from llama_chat.ui.widgets.fitting import first_fitting

_SCALE_CELLS = 8
_GAP = 3
_FEWEST_LINE_CELLS = 12
_OVER_USUAL = 1.5
"""The line of the speeds goes so far over the usual one: the first token after a pause came in no time."""


def fitting_parts(parts: list[str], cells: int, joined: str = " · ") -> str:
    """As many of the parts, the first ones, as there is room for."""
    wordings = [joined.join(parts[:count]) for count in range(len(parts), 0, -1)]
    return first_fitting(wordings or [""], max(1, cells))


class SheetHead(Widget):
    """One line: figures at the left, the legend of the shades at the right."""

    DEFAULT_CSS = """
    SheetHead { width: 1fr; height: 1; padding: 0 1; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._sheet: TokenSheet | None = None
        self._shade: Shade = "probability"
        self._styles: ShadeStyles | None = None

    def show(self, sheet: TokenSheet, shade: Shade) -> None:
        """Show the figures of this sheet, and what its shades mean."""
        self._sheet, self._shade = sheet, shade
        self.refresh()

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._styles = None
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002  (there is one)
        """The line."""
        width, base = self.size.width, self.rich_style
        if self._sheet is None:
            return Strip.blank(width, base)
        legend = self._legend(base) if len(self._sheet) else []
        taken = sum(segment.cell_length for segment in legend)
        if taken > width * 3 // 5:
            legend, taken = legend[-_SCALE_CELLS - 2 :], 0
            taken = sum(segment.cell_length for segment in legend)
        figures = ["tokens", *figures_of_sheet(self._sheet)]
        left = fitting_parts(figures, width - taken - _GAP)
        used = Content(left).cell_length
        segments = [
            Segment(left[: len(figures[0])], base + RichStyle(bold=True)),
            Segment(left[len(figures[0]) :], base),
            Segment(" " * max(0, width - used - taken), base),
            *legend,
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _legend(self, base: RichStyle) -> list[Segment]:
        if self._styles is None:
            self._styles = ShadeStyles(self.app.theme_variables, has_colours=not self.app.no_color)
        legend = LEGENDS[self._shade]
        steps = [round(step * (LEVELS - 1) / (_SCALE_CELLS - 1)) for step in range(_SCALE_CELLS)]
        sign = "a" if self._styles.are_plain else " "
        return [
            Segment(f"{self._shade}  ", base),
            Segment(f"{legend.palest} ", base),
            *(Segment(sign, base + self._styles.of(step)) for step in steps),
            Segment(f" {legend.strongest}", base),
        ]


class AlongLine(Widget):
    """One line: how likely the tokens were along the reply, and how fast they came; where the cursor is."""

    DEFAULT_CSS = """
    AlongLine { width: 1fr; height: 1; padding: 0 1; color: $foreground 60%; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._sheet: TokenSheet | None = None
        self._place = 0
        self._lines: dict[tuple[str, int], str] = {}

    def show(self, sheet: TokenSheet, place: int) -> None:
        """Show the lines of this sheet, the cursor at that token."""
        if sheet is not self._sheet:
            self._lines.clear()
        self._sheet, self._place = sheet, place
        self.refresh()

    def render(self) -> Content:
        """Both lines, or the first one where there is no room for two."""
        sheet, width = self._sheet, self.content_size.width
        if sheet is None or not len(sheet):
            return Content("")
        if not sheet.logprobs:
            return Content("")
        highest = 0.0 if sheet.is_opinion else _OVER_USUAL * sheet.usual_speed
        speed_title = f"tok/s 0…{highest:,.{0 if highest >= 10 else 1}f}"
        each = (width - len("probability ") - len(speed_title) - 1 - _GAP) // 2
        if not highest or each < _FEWEST_LINE_CELLS:
            return self._line("probability", sheet.probabilities, max(1, width - len("probability ")), 1.0)
        left = self._line("probability", sheet.probabilities, each, 1.0)
        right = self._line(speed_title, sheet.speeds, each, highest)
        gap = max(_GAP, width - left.cell_length - right.cell_length)
        return left + Content(" " * gap) + right

    def _line(self, title: str, values: list[float], cells: int, high: float) -> Content:
        key = (title, cells)
        line = self._lines[key] if key in self._lines else sparkline(values, cells, high=high)
        self._lines[key] = line
        at = min(len(line) - 1, self._place * len(line) // len(values)) if line else 0
        return Content.assemble(
            f"{title} ",
            (line[:at], "$primary"),
            (line[at : at + 1], "reverse $primary"),
            (line[at + 1 :], "$primary"),
        )
