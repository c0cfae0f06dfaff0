"""What a token was chosen from, as bars: what the model says, and beside it what the sliders make of it."""

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

from llama_chat.distribution.bars import Bars, bars_of
from llama_chat.distribution.names import TokenNames
from llama_chat.events import Candidates
from llama_chat.sampling import Sampling
from llama_chat.ui.palette import Palette
from llama_chat.ui.tokens.bar_rows import (
    CHOSEN_MARK,
    Columns,
    Parts,
    foot_wordings,
    head_parts,
    name_cells,
    row_parts,
    unlisted_parts,
)
from llama_chat.ui.widgets.fitting import first_fitting

FRAMED_ROWS = 4
"""A lower view has no room for a head and a foot."""
FEWEST_ROWS = 3
"""Where there are fewer, the chosen token does not take one of them from the likeliest."""
SLIDERS = "the sliders make of it"
UNLISTED = "was not among the likeliest 64"
_NOBODY = Bars((), (), 0, True)


class CandidateBars(ScrollView, can_focus=True):
    """A row for each candidate, with a cursor; Enter, or a double click, picks it.

    Moving a slider redraws what is seen: bars are worked out for all, lines only for the rows in view.
    """

    DEFAULT_CSS = """
    CandidateBars {
        background: transparent;
        overflow-x: hidden;
        overflow-y: hidden;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("enter", "pick", "Take this one", show=False),
    ]

    class Picked(TextualMessage):
        """The user wants this one to be the token."""

        def __init__(self, bars: CandidateBars, token_id: int) -> None:
            super().__init__()
            self.bars = bars
            self.token_id = token_id

        @property
        def control(self) -> CandidateBars:
            """The widget that sent it."""
            return self.bars

    class Moved(TextualMessage):
        """The cursor is on another candidate."""

        def __init__(self, bars: CandidateBars, token_id: int) -> None:
            super().__init__()
            self.bars = bars
            self.token_id = token_id

        @property
        def control(self) -> CandidateBars:
            """The widget that sent it."""
            return self.bars

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self.bars = _NOBODY
        """What is shown, worked out."""
        self._sampling = Sampling()
        self._names: list[str] = []
        self._chosen_id: int | None = None
        self._chosen_name = ""
        self._chosen_place: int | None = None
        """Its row; behind all candidates where it is none of them."""
        self._cursor = 0
        self._what = SLIDERS
        self._width = self._height = 0
        """Of the view: Textual works them out anew whenever it is asked (30 µs, twelve times a row)."""
        self._columns: Columns | None = None
        self._palette: Palette | None = None
        self._styles: dict[str, RichStyle] = {}

    # --- what is shown ------------------------------------------------------------------------------

    def show(
        self,
        candidates: Candidates,
        sampling: Sampling,
        names: TokenNames,
        chosen_id: int | None = None,
        *,
        what: str = SLIDERS,
        keeps_cursor: bool = False,
        begins_at_chosen: bool = True,
    ) -> None:
        """Show these.

        Args:
            candidates: of one choice.
            sampling: what reshapes them.
            names: of the tokens.
            chosen_id: what was taken; it is marked, and stands in the last row where it is below the view.
            what: the right column's heading.
            keeps_cursor: leave the cursor in its row: the same choice, reshaped.
            begins_at_chosen: whether the cursor begins there, not at the likeliest.
        """
        self.bars = bars_of(candidates, sampling)
        self._sampling, self._what, self._columns = sampling, what, None
        if not keeps_cursor:
            self._names = [names.quoted(bar.token_id) for bar in self.bars.bars]
            self._chosen_id = chosen_id
            self._chosen_name = "" if chosen_id is None else names.quoted(chosen_id)
            places = (n for n, bar in enumerate(self.bars.bars) if bar.token_id == chosen_id)
            self._chosen_place = None if chosen_id is None else next(places, len(self.bars.bars))
            self._cursor = self._place_to_begin if begins_at_chosen else 0
        self._set_size()
        self._show_cursor()
        self.refresh()

    def show_nothing(self) -> None:
        """There is no choice to show."""
        self.bars, self._names, self._chosen_id, self._chosen_place = _NOBODY, [], None, None
        self._set_size()
        self.refresh()

    @property
    def cursor_id(self) -> int | None:
        """The candidate under the cursor; None where there is none."""
        bars = self.bars.bars
        return bars[self._cursor].token_id if self._cursor < len(bars) else None

    @property
    def _place_to_begin(self) -> int:
        """The row of what was taken; the first one where that is not among the candidates."""
        place = self._chosen_place
        return 0 if place is None or place >= len(self.bars.bars) else place

    @property
    def _is_framed(self) -> bool:
        return self._height >= FRAMED_ROWS

    @property
    def _row_count(self) -> int:
        return len(self.bars.bars) + (self._chosen_place == len(self.bars.bars))

    @property
    def _rows_in_view(self) -> int:
        return max(1, self._height - 2 * self._is_framed)

    @property
    def _is_chosen_below(self) -> bool:
        """Whether the chosen token is below the view, and so takes the last row of it."""
        rows, place = self._rows_in_view, self._chosen_place
        return place is not None and rows >= FEWEST_ROWS and place >= self.scroll_offset.y + rows

    def _place_at(self, row: int) -> int:
        """Which candidate stands in a row of the view."""
        if self._is_chosen_below and row == self._rows_in_view - 1:
            assert self._chosen_place is not None
            return self._chosen_place
        return row + self.scroll_offset.y

    def _set_size(self) -> None:
        self.virtual_size = Size(self._width, self._row_count + 2 * self._is_framed)

    def on_resize(self) -> None:
        """Lay out for the new width, and keep the cursor in view."""
        self._width, self._height = self.size
        self._columns = None
        self._set_size()
        self._show_cursor()
        self.refresh()

    # --- the cursor -----------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """One candidate up or down."""
        self.go_to(self._cursor + step)

    def action_page(self, pages: int) -> None:
        """One page up or down."""
        self.go_to(self._cursor + pages * max(1, self._rows_in_view - 1))

    def action_pick(self) -> None:
        """Have the candidate under the cursor."""
        if self.cursor_id is not None:
            self.post_message(self.Picked(self, self.cursor_id))

    def begin(self) -> None:
        """Take the keyboard, the cursor at what was taken: Down leads to the one below that."""
        self.go_to(self._place_to_begin)
        self.focus()

    def go_to(self, place: int) -> None:
        """The cursor goes to that row, the first is 0."""
        place = max(0, min(len(self.bars.bars) - 1, place))
        if place != self._cursor and self.bars.bars:
            self._cursor = place
            self._show_cursor()
            self.refresh()
            self.post_message(self.Moved(self, self.bars.bars[place].token_id))

    def _show_cursor(self) -> None:
        if not self._height:
            return
        rows, top = self._rows_in_view, self.scroll_offset.y
        if rows >= FEWEST_ROWS and self._chosen_place is not None and self._chosen_place > self._cursor:
            rows -= 1  # it may stand in the last one
        least, most = max(0, self._cursor - rows + 1), self._cursor
        if self._cursor == len(self.bars.bars) - 1:
            least = max(0, self._row_count - rows)  # the row of a chosen token that is not listed
        if not least <= top <= most:
            self.scroll_to(y=least if top < least else most, animate=False, force=True)

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()

    def on_blur(self) -> None:
        """Hide it."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; a double click picks what is there."""
        row = event.y - self._is_framed
        place = self._place_at(row)
        if not 0 <= row < self._rows_in_view or place >= len(self.bars.bars):
            return
        event.stop()
        if place == self._cursor and event.chain > 1:
            self.action_pick()
        else:
            self.go_to(place)

    # --- drawing ----------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._palette = None
        self._styles.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One line of the view: the head, a candidate, or the foot."""
        width = self._width
        if not self.bars.bars:
            return Strip.blank(width, self.rich_style)
        columns = self._columns = self._columns or Columns.within(width, self.bars, name_cells(self._names))
        if self._is_framed and y == 0:
            return self._strip(head_parts(columns, self._sampling, width, self._what))
        if self._is_framed and y == self._height - 1:
            below = self.scroll_offset.y + self._rows_in_view - self._is_chosen_below
            words = first_fitting(foot_wordings(self.bars, self._sampling, below), width - len(CHOSEN_MARK))
            return self._strip([(" " * len(CHOSEN_MARK) + words, "meta")])
        place = self._place_at(y - self._is_framed)
        if place >= self._row_count:
            return Strip.blank(width, self.rich_style)
        return self._strip(self._row(place, columns))

    def _row(self, place: int, columns: Columns) -> Parts:
        if place >= len(self.bars.bars):
            return unlisted_parts(self._chosen_name, columns, UNLISTED)
        bar = self.bars.bars[place]
        mark = CHOSEN_MARK if bar.token_id == self._chosen_id else ""
        name = self._names[place]
        return row_parts(
            bar,
            name,
            columns,
            self._sampling,
            is_exact=self.bars.is_exact,
            mark=mark,
            is_under_cursor=place == self._cursor and self.has_focus,
        )

    def _strip(self, parts: Parts) -> Strip:
        strip = Strip([Segment(text, self._style(name)) for text, name in parts])
        return strip.adjust_cell_length(self._width, self._style(""))

    def _style(self, name: str) -> RichStyle:
        """The style of that name over this widget's own; each is mixed once."""
        found = self._styles.get(name)
        if found is None:
            palette = self._palette = self._palette or Palette(self.app.theme_variables)
            base = self.visual_style
            found = self._styles[name] = (base + palette.style(name) if name else base).rich_style
        return found
