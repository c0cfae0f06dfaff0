"""One column of a sweep: its setting, what it says, its figures."""

from __future__ import annotations

from textual.content import Content
from textual.message import Message as TextualMessage
from textual.widget import Widget

from llama_chat.sweep.gathered import ColumnReply
from llama_chat.sweep.words import figure_rows
from llama_chat.ui.sweep.layout import Laid, lay
from llama_chat.ui.widgets.fitting import cut

FIGURES_ROWS = 11
"""A lower column has no room for figures."""
_MOST_FIGURE_CELLS = 30
_QUIET = "$foreground 60%"


class ColumnView(Widget):
    """The token under the cursor is marked; in the other columns, the one at the same place.

    Args:
        number: of the column, from 0.
        heading: the setting and its value.
    """

    DEFAULT_CSS = """
    ColumnView {
        width: 1fr;
        height: 1fr;
        padding: 0 1;
        border-left: blank $background;
        &.-chosen { border-left: outer $primary; }
    }
    """

    class Clicked(TextualMessage):
        """The user wants this column, and perhaps this token of it."""

        def __init__(self, number: int, index: int | None) -> None:
            super().__init__()
            self.number = number
            self.index = index

    def __init__(self, number: int, heading: str) -> None:
        super().__init__()
        self.number = number
        self._heading = heading
        self._reply: ColumnReply | None = None
        self._cursor = 0
        self._follows = True
        self._laid: tuple[tuple[int, int, bool], Laid] | None = None
        self._top = 0
        """The first line of the text that is seen."""

    def show(self, reply: ColumnReply, *, is_chosen: bool, cursor: int, follows: bool) -> None:
        """Show the reply as it is now.

        Args:
            reply: the column's.
            is_chosen: whether the cursor is in this one.
            cursor: the token at which it is.
            follows: whether the end of the text is kept in view, instead of the cursor.
        """
        self._reply, self._cursor, self._follows = reply, cursor, follows
        self.set_class(is_chosen, "-chosen")
        self.refresh()

    def render(self) -> Content:
        """Heading, text, figures, state."""
        width, height = self.content_size
        if self._reply is None or not width:
            return Content("")
        is_chosen = self.has_class("-chosen")
        figures = self._figure_lines(width) if height >= FIGURES_ROWS else []
        rows = max(0, height - 2 - len(figures))
        heading = Content.styled(cut(self._heading, width), "bold $text-primary" if is_chosen else "bold")
        state = Content.styled(cut(self._reply.state, width), self._state_style())
        return Content("\n").join([heading, *self._text_lines(width, rows), *figures, state][:height])

    def _state_style(self) -> str:
        return "$text-error" if self._reply is not None and self._reply.error is not None else _QUIET

    def _figure_lines(self, width: int) -> list[Content]:
        """Labels at the left, values at the right of a narrow block; an empty line before them."""
        assert self._reply is not None
        cells = min(width, _MOST_FIGURE_CELLS)
        rows = figure_rows(self._reply.figures)
        lines = [
            Content.assemble((label.ljust(cells - len(value)), _QUIET), value).truncate(width)
            for label, value in rows
        ]
        return [Content(""), *lines]

    def _text_lines(self, width: int, rows: int) -> list[Content]:
        """What is seen of the text."""
        laid = self._laid_out(width)
        last = max(0, len(laid.lines) - rows)
        if self._follows:
            self._top = last
        else:
            line = laid.line_of(self._cursor)
            self._top = min(max(self._top, line - rows + 1), line, max(last, 0))
        seen = laid.lines[self._top : self._top + rows]
        lines = [self._line(laid, start, stop) for start, stop in seen]
        return [*lines, *[Content("")] * (rows - len(lines))]

    def _line(self, laid: Laid, start: int, stop: int) -> Content:
        line = Content(laid.text[start:stop])
        if self._cursor < len(laid.spans):
            first, end = laid.spans[self._cursor]
            if first < stop and end > start:
                style = "reverse" if self.has_class("-chosen") else "underline"
                line = line.stylize(style, max(0, first - start), min(end, stop) - start)
        return line

    def _laid_out(self, width: int) -> Laid:
        assert self._reply is not None
        finished = self._reply.finished
        known = (width, len(self._reply.tokens), finished is not None)
        if self._laid is None or self._laid[0] != known:
            self._laid = known, lay(self._reply.tokens, finished.text if finished else "", width)
        return self._laid[1]

    def on_click(self, event: object) -> None:
        """The column is wanted; a click on its text means the token there."""
        from textual.events import Click

        assert isinstance(event, Click)
        offset = event.get_content_offset(self)
        index = None
        if offset is not None and self._laid is not None and offset.y >= 1:
            index = self._token_at(self._laid[1], self._top + offset.y - 1, offset.x)
        self.post_message(self.Clicked(self.number, index))

    @staticmethod
    def _token_at(laid: Laid, line: int, x: int) -> int | None:
        if line >= len(laid.lines):
            return None
        start, stop = laid.lines[line]
        at = start + x
        return next((n for n, (first, end) in enumerate(laid.spans) if first <= at < min(end, stop)), None)
