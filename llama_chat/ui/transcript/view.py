"""A scrolling view of entries: which rows are in it, where it stands, what of it is selected."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from rich.style import Style as RichStyle
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Offset, Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

from llama_chat.ui.palette import Palette
from llama_chat.ui.transcript.drawn import DrawnLines, is_bare, thumb_of
from llama_chat.ui.transcript.entries import Entry
from llama_chat.ui.transcript.heights import Heights
from llama_chat.ui.transcript.painter import Painter
from llama_chat.ui.transcript.rows import BLANK_ROW, Column, Row
from llama_chat.ui.transcript.selecting import copy_rows, highlight, name_row, with_places

_END_OF_ROW = 1 << 20


class EntryView(ScrollView, can_focus=True):
    """Draws the rows of its entries itself. It follows the end until the user scrolls away from it."""

    DEFAULT_CSS = """
    EntryView {
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Line up", show=False),
        Binding("down", "scroll_down", "Line down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "Beginning", show=False),
        Binding("end", "scroll_end", "End", show=False),
    ]

    below: reactive[int] = reactive(0, repaint=False)
    """Rows below the view."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._entries: list[Entry] = []
        self._heights = Heights()
        self._view_size = Size(0, 0)
        """Cells that rows can be seen in; a ScrollView's `size` counts the scrollbar's column too."""
        self._known_size = Size(0, 0)
        self._column = Column.within(0)
        self._painter: Painter | None = None
        self._look: tuple[Style, Column, dict[str, str]] | None = None
        self._named, self._finished = DrawnLines(), DrawnLines()
        self._thumb = (0, 0)
        self._follows_end = True
        self._is_settling = False
        self._anchor = (0, 0.0)
        """The entry at the top of the view, and how much of its height is above it."""

    @property
    def follows_end(self) -> bool:
        """Whether the view stays at the end while text arrives. Setting it to True goes there."""
        return self._follows_end

    @follows_end.setter
    def follows_end(self, follows: bool) -> None:
        self._follows_end = follows
        if follows:
            self._settle()
            self.refresh()

    def stand_at_entry(self, index: int) -> None:
        """Scroll so that the entry begins at the top of the view, or as near to it as the end allows."""
        self._follows_end = False
        self._anchor = (index, 0.0)  # counts when there is no view yet
        self._settle(self._heights.start(index))
        self._settle(self._heights.start(index))  # what is above has its true height now
        self.refresh()

    # --- layout ------------------------------------------------------------------------------------

    def on_resize(self, _event: Resize) -> None:
        """Lay out anew for another width; keep what is at the top where it is."""
        self._known_size = self.size
        self._view_size = self.scrollable_content_region.size
        column = Column.within(self._view_size.width)
        index, part = self._anchor
        if column != self._column:
            self._column = column
            self._painter = None
            for entry in self._entries:
                entry.resize(column.text_width)
            self._heights.recount(self._entries)
            if self.is_attached:
                self.screen.clear_selection()
        if index < len(self._entries):
            entry = self._entries[index]
            entry.lay_out()
            self._heights.recount(self._entries, index)
            self._settle(self._heights.start(index) + round(part * entry.height))
        else:
            self._settle()
        self.refresh()

    def _settle(self, top: int | None = None) -> None:
        """Make the heights of what is in the view exact, then stand at `top` or at the end."""
        width, height = self._view_size
        if not height or not width:
            return
        if self._follows_end or top is None:
            self._lay_out_end(height)
            top = self._heights.total - height if self._follows_end else round(self.scroll_y)
        if not self._follows_end:
            top = self._lay_out_from(top, height)
        self._stand_at(top, height)

    def _lay_out_end(self, height: int) -> None:
        index = len(self._entries)
        first = index
        while index and height > 0:
            index -= 1
            entry = self._entries[index]
            if entry.rows is None:
                entry.lay_out()
                first = index
            height -= entry.height
        if first < len(self._entries):
            self._heights.recount(self._entries, first)

    def _lay_out_from(self, top: int, height: int) -> int:
        """The row that what was at `top` has moved to."""
        while True:
            first = self._heights.find(top)
            unknown = [
                index
                for index in range(first, self._heights.find(top + height - 1) + 1)
                if index < len(self._entries) and self._entries[index].rows is None
            ]
            if not unknown:
                return top
            fixed = next((index for index in range(first, unknown[-1] + 1) if index not in unknown), None)
            anchor = first if fixed is None else fixed
            before = top - self._heights.start(anchor)
            old_height = max(1, self._entries[anchor].height)
            for index in unknown:
                self._entries[index].lay_out()
            self._heights.recount(self._entries, unknown[0])
            if fixed is None:
                before = before * self._entries[anchor].height // old_height
            top = max(0, self._heights.start(anchor) + before)

    def _stand_at(self, top: int, height: int) -> None:
        total = self._heights.total
        top = max(0, min(top, total - height))
        self._is_settling = True
        try:
            size = Size(self._column.view_width, total)
            if size != self.virtual_size:
                self._take_virtual_size(size)
            if self.show_vertical_scrollbar:
                # Not painted yet: in a long session the thumb stands where it stood.
                self.vertical_scrollbar.set_reactive(ScrollBar.position, top)
            self.scroll_target_y = self.scroll_y = top
            self._refresh_thumb()
        finally:
            self._is_settling = False
        self.below = max(0, total - top - height)
        self._remember_anchor(top)

    def _take_virtual_size(self, size: Size) -> None:
        """Have that many cells to scroll over; no layout of the screen unless a scrollbar comes or goes."""
        has_bar, needs_bar = self.show_vertical_scrollbar, size.height > self._view_size.height
        if has_bar != needs_bar or size.width != self.virtual_size.width:
            self.virtual_size = size
            return
        self.set_reactive(EntryView.virtual_size, size)
        if has_bar:
            self.vertical_scrollbar.set_reactive(ScrollBar.window_virtual_size, size.height)

    def _refresh_thumb(self) -> None:
        """Paint the scrollbar if it looks otherwise now: all its rows cost as much as the words."""
        if not self.show_vertical_scrollbar:
            return
        bar, height = self.vertical_scrollbar, self._view_size.height
        thumb = thumb_of(height, bar.window_virtual_size, bar.position)
        if thumb != self._thumb:
            self._thumb = thumb
            bar.refresh()

    def _remember_anchor(self, top: int) -> None:
        index = self._heights.find(top)
        if index < len(self._entries):
            part = (top - self._heights.start(index)) / max(1, self._entries[index].height)
            self._anchor = (index, part)
        else:
            self._anchor = (index, 0.0)

    def _entry_changed(self, place: int, first_row: int) -> None:
        """Rows of an entry have changed from this one on."""
        start = self._heights.start(place)
        end = self._heights.start(place + 1)
        if end - start == self._entries[place].height:
            self._refresh_rows(start + first_row, end)
            return
        self._heights.recount(self._entries, place)
        top = self.scroll_offset.y
        self._settle(top)
        if self.scroll_offset.y == top:  # otherwise all of the view is painted anyway
            self._refresh_rows(start + first_row, self._heights.total)

    # --- scrolling ---------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end again when the user has come to it; else stop following."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_settling or self.size != self._known_size or old_value == new_value:
            return
        slack = 1 if new_value > old_value else 0  # a line may have arrived since the key was pressed
        self._follows_end = new_value >= self.max_scroll_y - slack
        self._settle(round(new_value))

    def scroll_to(  # type: ignore[no-untyped-def]  # its many options are Textual's
        self, x: float | None = None, y: float | None = None, **options
    ) -> None:
        """Scroll at once: on the way of an animation, heights that become exact would throw it back."""
        options["animate"] = False
        super().scroll_to(x, y, **options)

    def scroll_end(self, **_options: object) -> None:
        """Go to the end and follow it."""
        self.follows_end = True

    # --- painting ----------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Paint with another theme, background or colour from now on."""
        self._painter = None
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """The strip of one line of the view."""
        painter = self._painter or self._make_painter()
        found = self._row_at(y + self.scroll_offset.y)
        if found is None:
            return painter.blank()
        index, number, row = found
        strips = self._entries[index].strips
        strip = strips.get(number)
        if strip is None:
            strip = strips[number] = painter.paint(row)
        name = name_row(index, number)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(name)) is not None:
            strip = highlight(strip, row, painter.text_start(row), span, self._selected_style)
            return with_places(strip, name)
        return self._named.get(name, strip, None, lambda: with_places(strip, name))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips of these lines of the view.

        A line that was drawn before is drawn as it was: Textual lays padding, border and filters around each
        anew, which took half of the time when a reply scrolls by a line (2026-11-22).
        """
        width = self.region.width
        if not is_bare(self.styles) or self.opacity != 1.0 or crop.column_span != (0, width):
            return super().render_lines(crop)
        background, blank = self.background_colors[1], self.visual_style.rich_style
        filters = tuple(self.get_line_filters())

        def finish(strip: Strip) -> Strip:
            strip = strip.adjust_cell_length(width, blank)
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, background)
            return strip

        look = (width, background, blank, filters)
        lines = (self.render_line(y) for y in crop.line_range)
        return [self._finished.get(id(line), line, look, partial(finish, line)) for line in lines]

    @property
    def _selected_style(self) -> RichStyle:
        """A shade behind the text; where there are no shades, the text reversed."""
        if self.app.no_color or self.app.current_theme.ansi:
            return RichStyle(reverse=True)
        return RichStyle(bgcolor=self.selection_style.bgcolor)

    def _make_painter(self) -> Painter:
        variables = self.app.theme_variables
        look = (self.visual_style, self._column, variables)
        if look != self._look:
            self._look = look
            for entry in self._entries:
                entry.strips.clear()
        self._painter = Painter(Palette(variables), self.visual_style, self._column)
        return self._painter

    def _row_at(self, line: int) -> tuple[int, int, Row] | None:
        """Entry, number in it, and row; None below the last."""
        index = self._heights.find(line)
        if index >= len(self._entries):
            return None
        rows = self._entries[index].lay_out()
        number = line - self._heights.start(index)
        return index, number, rows[number] if number < len(rows) else BLANK_ROW

    def _refresh_rows(self, first: int, end: int) -> None:
        """Paint these rows again, counted from the top of the transcript, where they are in the view."""
        top = self.scroll_offset.y
        first, end = max(0, first - top), min(self._view_size.height, end - top)
        if first < end:
            self.refresh(Region(0, first, self.size.width, end - first))

    # --- selection ---------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text without what is only drawn around it."""
        return copy_rows(self._named_rows(selection), selection), "\n"

    def _named_rows(self, selection: Selection) -> Iterator[tuple[int, int, Row]]:
        painter = self._painter or self._make_painter()
        for index, entry in enumerate(self._entries):
            if selection.end is not None and name_row(index, 0) > selection.end.y:
                return
            if selection.start is not None and name_row(index + 1, 0) <= selection.start.y:
                continue
            for number, row in enumerate(entry.lay_out()):
                yield name_row(index, number), painter.text_start(row), row

    def text_select_all(self) -> None:
        """Select the message under the pointer (Textual calls this for a double click)."""
        line = self.app.mouse_position.y - self.content_region.y + self.scroll_offset.y
        if (found := self._row_at(line)) is not None:
            index = found[0]
            last = len(self._entries[index].lay_out()) - 1
            start, end = Offset(0, name_row(index, 0)), Offset(_END_OF_ROW, name_row(index, last))
            self.screen.selections = {self: Selection(start, end)}
