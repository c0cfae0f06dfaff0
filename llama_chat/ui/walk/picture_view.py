"""One picture of a step: drawn line by line, with a cursor on heat maps; it scrolls and zooms."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message as TextualMessage
from textual.strip import Strip
from textual.widget import Widget

from llama_chat.drawing.heat_window import HeatWindow
from llama_chat.drawing.views import Grid
from llama_chat.ui.palette import Palette
from llama_chat.ui.walk.heat_lines import HeatLines, grid_reading
from llama_chat.ui.walk.pictures import Picture, lines_of
from llama_chat.ui.walk.shades import Shades


class PictureView(Widget, can_focus=True):
    """The picture below its title; under a heat map, what the cursor is on."""

    DEFAULT_CSS = """
    PictureView { height: 1fr; background: transparent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1, 0)", "Up", show=False),
        Binding("down", "move(1, 0)", "Down", show=False),
        Binding("left", "move(0, -1)", "Left", show=False),
        Binding("right", "move(0, 1)", "Right", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go_end(-1)", "First column", show=False),
        Binding("end", "go_end(1)", "Last column", show=False),
    ]

    class Moved(TextualMessage):
        """The cursor of a map of tokens is on another pair of them."""

        def __init__(self, row: int, column: int) -> None:
            super().__init__()
            self.row, self.column = row, column

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._window: HeatWindow | None = None
        self._lines: list[Content] = []
        self._top = self._left = 0
        self._palette: Palette | None = None
        self._heat: HeatLines | None = None

    @property
    def window(self) -> HeatWindow | None:
        """The part of a heat map that is seen; None where the picture is none."""
        return self._window

    @property
    def pair(self) -> tuple[int, int] | None:
        """The token that looks and the one that is looked at, under the cursor of a map of such pairs."""
        window = self._window
        return (window.row, window.column) if window is not None and is_of_pairs(window.grid) else None

    @property
    def picture(self) -> Picture | None:
        """What is shown."""
        return self._picture

    def show(self, picture: Picture | None) -> None:
        """Show this one; on a map as large as the one before, the cursor stays where it is."""
        before, self._picture = self._window, picture
        self._window, self._top, self._left = None, 0, 0
        if isinstance(picture, Grid):
            self._window = HeatWindow(picture, has_halves=self._shades.has_colours)
            if before is not None and before.same_size(picture):
                self._window.stand_like(before)
            self._fit()
        self._make_lines()
        self.refresh()

    def _make_lines(self) -> None:
        picture = self._picture
        has_lines = picture is not None and not isinstance(picture, Grid)
        self._lines = lines_of(picture, *self.size) if has_lines else []  # type: ignore[arg-type]  # no grid

    def _fit(self) -> None:
        if self._window is not None:
            labels = self.heat.label_cells(self._window.grid, self.size.width)
            self._window.fit(max(1, self.size.width - labels), max(1, self.size.height - 2))

    def on_resize(self) -> None:
        """Show as much as there is room for."""
        self._fit()
        self._make_lines()
        self.refresh()

    # --- what the user does -----------------------------------------------------------------------------

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor of a map by a cell; scroll anything else."""
        if self._window is None:
            self._scroll_lines(rows, columns * 8)
        else:
            self._window.move(rows, columns)
            self._moved()

    def action_page(self, pages: int) -> None:
        """Move by a page."""
        if self._window is None:
            self._scroll_lines(pages * max(1, self.size.height - 1), 0)
        else:
            self._window.page(pages)
            self._moved()

    def action_go_end(self, way: int) -> None:
        """To the first or the last column."""
        if self._window is None:
            self._scroll_lines(0, way * 10_000)
        else:
            last = self._window.grid.columns.size - 1
            self._window.go(self._window.row, last if way > 0 else 0)
            self._moved()

    def zoom_by(self, steps: int) -> bool:
        """Look at the map from nearer or further away; whether that is possible."""
        is_done = self._window is not None and self._window.zoom_by(steps)
        self.refresh()
        return is_done

    def put_cursor(self, row: int, column: int) -> None:
        """Put the cursor of a map there."""
        if self._window is not None:
            self._window.go(row, column)
            self.refresh()

    def _scroll_lines(self, lines: int, cells: int) -> None:
        widest = max((line.cell_length for line in self._lines), default=0)
        self._top = min(max(self._top + lines, 0), max(0, len(self._lines) - self.size.height))
        self._left = min(max(self._left + cells, 0), max(0, widest - self.size.width))
        self.refresh()

    def _moved(self) -> None:
        self.refresh()
        if self.pair is not None:
            self.post_message(self.Moved(*self.pair))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll down."""
        event.stop()
        self._wheel(2)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll up."""
        event.stop()
        self._wheel(-2)

    def _wheel(self, lines: int) -> None:
        if self._window is None:
            self._scroll_lines(lines, 0)
        else:
            self._window.scroll(lines)
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor of a map under the mouse."""
        if self._window is None:
            return
        labels = self.heat.label_cells(self._window.grid, self.size.width)
        place = self._window.at(event.x - labels, event.y - 1)
        if event.x >= labels and place is not None:
            self._window.go(*place)
            self._moved()

    # --- drawing ----------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._palette = self._heat = None
        super().notify_style_update()

    @property
    def _shades(self) -> Shades:
        return self.heat.shades

    @property
    def heat(self) -> HeatLines:
        """What draws heat maps in the theme."""
        if self._heat is None:
            theme = self.app.current_theme
            shades = Shades(self.app.theme_variables, is_dark=theme.dark)
            self._palette = Palette(self.app.theme_variables)
            self._heat = HeatLines(shades, self._palette, self.visual_style)
        return self._heat

    def render_line(self, y: int) -> Strip:
        """One line of the picture."""
        width, heat = self.size.width, self.heat
        base = self.visual_style.rich_style
        if self._window is not None:
            strip = self._map_line(self._window, heat, y, width)
        elif y + self._top < len(self._lines) and self._palette is not None:
            line = self._lines[y + self._top]
            below = len(self._lines) - self._top - self.size.height
            if below > 0 and y == self.size.height - 1:
                line = Content.styled(f"↓ {below + 1:,} more lines", "meta")
            parts = line.render(self.visual_style, end="", parse_style=self._palette.style)
            strip = Strip([Segment(text, style.rich_style) for text, style in parts])
            strip = strip.crop(self._left) if self._left else strip
        else:
            strip = Strip([])
        return strip.adjust_cell_length(width, base)

    def _map_line(self, window: HeatWindow, heat: HeatLines, y: int, width: int) -> Strip:
        labels = heat.label_cells(window.grid, width)
        if y == 0:
            return heat.header(window, labels)
        if y - 1 < window.height:
            return heat.row(window, y - 1, labels, has_focus=self.has_focus)
        if y == window.height + 1:
            return heat.status(window, width)
        return Strip([])

    def reading(self) -> str:
        """What the cursor is on, in words; empty where there is none."""
        return grid_reading(self._window) if self._window is not None else ""


def is_of_pairs(grid: Grid) -> bool:
    """Whether its rows are tokens that look, and its columns those that are looked at."""
    return (grid.rows.letter, grid.columns.letter) == ("T", "S")
