"""A message as its tokens, each on the shade of how likely it was, with a cursor over them."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message as TextualMessage
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.conversation import Message, Role
from llama_chat.distribution.shades import Shade
from llama_chat.ui.tokens.shade_styles import ShadeStyles
from llama_chat.ui.tokens.token_rows import TokenRows

_NOTHING = TokenSheet(Message("", None, Role.ASSISTANT, "", 0.0))


class TokenView(ScrollView, can_focus=True):
    """Draws the rows that are seen, and lays them out once: 10,000 tokens scroll as smoothly as 10."""

    DEFAULT_CSS = """
    TokenView {
        background: transparent;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "row(-1)", "Row up", show=False),
        Binding("down", "row(1)", "Row down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go(0)", "First", show=False),
        Binding("end", "go(-1)", "Last", show=False),
    ]

    class Moved(TextualMessage):
        """The cursor is on another token."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id)
        self._sheet = _NOTHING
        self._rows = TokenRows(1)
        self._strips: dict[int, Strip] = {}
        self._styles: ShadeStyles | None = None
        self._cursor = 0
        self._least: int | None = None
        """Where the cursor stands in the order of surprise, if it came there that way."""
        self.shade: Shade = "probability"

    # --- what is shown --------------------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """The place of the token under the cursor."""
        return self._cursor

    def show(self, sheet: TokenSheet, *, is_longer: bool = False) -> None:
        """Show this one; the cursor stays where it is, or follows the end if it was there.

        Args:
            sheet: of the tokens.
            is_longer: whether it begins with what is shown already.
        """
        follows = self._cursor == len(self._sheet) - 1 and sheet.is_running
        self._sheet = sheet
        if is_longer:
            first_row = max(0, len(self._rows) - 2)  # a word may have gone to the next row
            self._rows.extend(sheet.tokens[len(self._rows.texts) :])
            for row in range(first_row, len(self._rows)):
                self._strips.pop(row, None)
        else:
            self._lay_out()
        self._set_size()
        self._go(len(sheet) - 1 if follows else self._cursor, is_told=False)
        self.refresh()

    def show_shade(self, shade: Shade) -> None:
        """Shade by something else."""
        self.shade = shade
        self._strips.clear()
        self.refresh()

    def _lay_out(self) -> None:
        self._rows = TokenRows(self.scrollable_content_region.width)
        self._rows.extend(self._sheet.tokens)
        self._strips.clear()

    def _set_size(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))

    def on_resize(self) -> None:
        """Lay out for another width, and keep the cursor in view."""
        if self.scrollable_content_region.width != self._rows.width:
            self._lay_out()
        self._set_size()
        self._show_cursor()

    # --- the cursor -------------------------------------------------------------------------------------

    def move(self, step: int) -> None:
        """So many tokens on."""
        self._go(self._cursor + step)

    def move_word(self, step: int) -> None:
        """To the next beginning of a word, or the one before."""
        if len(self._sheet):
            self._go(self._sheet.word_from(self._cursor, step))

    def move_by_surprise(self, step: int) -> None:
        """To the least likely token, from there to the next likely one, and so on."""
        order = self._sheet.by_surprise
        if not order:
            return
        known = self._least if self._least is not None and self._least < len(order) else None
        if known is None or order[known] != self._cursor:
            known = 0 if step > 0 else len(order) - 1
        else:
            known = max(0, min(len(order) - 1, known + step))
        self._go(order[known])
        self._least = known

    def action_row(self, step: int) -> None:
        """A row up or down, in the same column."""
        if len(self._sheet):
            row = self._rows.row_of(self._cursor) + step
            cell = self._rows.cell_of(self._cursor) + self._rows.cells(self._cursor) // 2
            place = self._rows.at(max(0, min(len(self._rows) - 1, row)), cell)
            self._go(self._cursor if place is None else place)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        self.action_row(pages * max(1, self.scrollable_content_region.height - 1))

    def action_go(self, place: int) -> None:
        """To the first token, or to the last."""
        self._go(place if place >= 0 else len(self._sheet) - 1)

    def go_to(self, place: int) -> None:
        """The cursor goes there."""
        self._go(place)

    def _go(self, place: int, *, is_told: bool = True) -> None:
        place = max(0, min(len(self._sheet) - 1, place))
        before, self._cursor = self._cursor, place
        if not len(self._sheet):
            return
        if place != before:
            self._least = None
            for row in {self._rows.row_of(min(before, len(self._sheet) - 1)), self._rows.row_of(place)}:
                self._strips.pop(row, None)
                self.refresh_line(row - self.scroll_offset.y)
            if is_told:
                self.post_message(self.Moved(place))
        self._show_cursor()

    def _show_cursor(self) -> None:
        """Keep the cursor in view, with a row above and below it where there are any."""
        height = self.scrollable_content_region.height
        if not height or not len(self._sheet):
            return
        row, top = self._rows.row_of(self._cursor), self.scroll_offset.y
        margin = 1 if height >= 4 else 0
        if row < top + margin:
            self.scroll_to(y=max(0, row - margin), animate=False, force=True)
        elif row >= top + height - margin:
            self.scroll_to(y=row - height + 1 + margin, animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        place = self._rows.at(offset.y + self.scroll_offset.y, offset.x)
        if place is not None:
            event.stop()
            self._go(place)

    # --- drawing ----------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._styles = None
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One row of the view."""
        row, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        if row >= len(self._rows) or not len(self._sheet):
            return Strip.blank(width, self.rich_style)
        strip = self._strips.get(row)
        if strip is None:
            strip = self._strips[row] = self._build(row, width)
        return strip

    def _build(self, row: int, width: int) -> Strip:
        styles = self.styles_of_shades
        sheet, shade, texts, base = self._sheet, self.shade, self._rows.texts, self.rich_style
        segments = [
            Segment(texts[place], base + self._style(place, sheet, shade, styles))
            for place in self._rows.places(row)
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, place: int, sheet: TokenSheet, shade: Shade, styles: ShadeStyles) -> RichStyle:
        return styles.cursor if place == self._cursor else styles.of(sheet.level(place, shade))

    @property
    def styles_of_shades(self) -> ShadeStyles:
        """Those of the theme as it is."""
        if self._styles is None:
            self._styles = ShadeStyles(self.app.theme_variables, has_colours=not self.app.no_color)
        return self._styles
