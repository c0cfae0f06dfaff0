"""The list of what a token of a reply looked at; it has the keyboard while it is there."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message as TextualMessage
from textual.strip import Strip
from textual.widget import Widget

from llama_chat.chat.looking import Looked, Looks
from llama_chat.sanitize import sanitize
from llama_chat.ui.looks.rows import keys_line, sentence_lines, source_contents, title_content
from llama_chat.ui.markdown.line import wrap
from llama_chat.ui.palette import Palette
from llama_chat.ui.transcript.rows import BAR, Column
from llama_chat.ui.widgets.fitting import cut

KEYS_ROWS = 6
"""A lower list has no room to name its keys."""
_STEP = 10


class LooksPanel(Widget, can_focus=True):
    """A sheet below the transcript: a title, sentences, the sources as bars."""

    DEFAULT_CSS = """
    LooksPanel { height: 34vh; min-height: 4; max-height: 18; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "token(-1)", show=False),
        Binding("right", "token(1)", show=False),
        Binding("pageup", f"token(-{_STEP})", show=False),
        Binding("pagedown", f"token({_STEP})", show=False),
        Binding("home", "token_at(0)", show=False),
        Binding("end", "token_at(-1)", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("m", "menu", show=False),
        Binding("o", "own_row", show=False),
        Binding("escape", "leave", show=False),
    ]

    class TokenWanted(TextualMessage):
        """Another token of the reply is asked about; an index below 0 counts from its end."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Moved(TextualMessage):
        """The cursor is on another source."""

        def __init__(self, looked: Looked) -> None:
            super().__init__()
            self.looked = looked

    class MenuWanted(TextualMessage):
        """Another measure is wanted."""

    class OwnRowWanted(TextualMessage):
        """What the token itself looks at is wanted, or again what it was chosen by."""

    class Left(TextualMessage):
        """Nothing more is asked."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id)
        self.looks: Looks | None = None
        """What is shown."""
        self.index = 0
        """The token that was asked about last; what is shown may still be that of another one."""
        self._top: tuple[Looked, ...] = ()
        self._cursor = 0
        self._says = ""
        self._is_trouble = False
        self._palette: Palette | None = None

    # --- what is shown --------------------------------------------------------------------------------

    def show(self, looks: Looks) -> None:
        """Show these; the cursor goes to the first."""
        self.looks, self.index = looks, looks.index
        self._top, self._cursor = looks.top(), 0
        self._says, self._is_trouble = "", False
        self.refresh()

    def say(self, words: str, *, is_trouble: bool = False) -> None:
        """What it is at, or why it cannot be shown, instead of the sentences; empty for the sentences."""
        words = sanitize(words)
        if (words, is_trouble) != (self._says, self._is_trouble):
            self._says, self._is_trouble = words, is_trouble
            self.refresh()

    @property
    def chosen(self) -> Looked | None:
        """The source under the cursor."""
        return self._top[self._cursor] if self._top else None

    # --- keys -----------------------------------------------------------------------------------------

    def action_token(self, step: int) -> None:
        """Ask about the token so many further."""
        last = self.looks.context.length - 1 if self.looks is not None else 0
        self._ask(max(0, min(last, self.index + step)))

    def action_token_at(self, index: int) -> None:
        """Ask about the first token, or the last one."""
        last = self.looks.context.length - 1 if self.looks is not None else 0
        self._ask(last if index < 0 else index)

    def _ask(self, index: int) -> None:
        if index != self.index:
            self.index = index
            self.post_message(self.TokenWanted(index))

    def action_move(self, step: int) -> None:
        """The source above or below."""
        place = max(0, min(len(self._top) - 1, self._cursor + step))
        if self._top and place != self._cursor:
            self._cursor = place
            self.refresh()
            self.post_message(self.Moved(self._top[place]))

    def action_menu(self) -> None:
        """The ways to measure."""
        self.post_message(self.MenuWanted())

    def action_own_row(self) -> None:
        """The look of the token itself, or again of the one before it."""
        self.post_message(self.OwnRowWanted())

    def action_leave(self) -> None:
        """Take list and shades away."""
        self.post_message(self.Left())

    def on_click(self, event: events.Click) -> None:
        """A click on a source goes there; one on the title opens the menu."""
        self.focus()
        if event.y == 0:
            self.action_menu()
            return
        place = event.y - self._first_source_row + self._first_shown
        if event.y >= self._first_source_row and place < len(self._top):
            self.action_move(place - self._cursor)

    # --- drawing --------------------------------------------------------------------------------------

    @property
    def _text_width(self) -> int:
        return self._column.text_width

    @property
    def _column(self) -> Column:
        """As wide as the talk above it, and below it."""
        return Column.within(self.size.width)

    @property
    def _has_keys(self) -> bool:
        return self.size.height >= KEYS_ROWS

    @property
    def _first_source_row(self) -> int:
        return 1 + len(self._sentences())

    @property
    def _source_rows(self) -> int:
        return max(1, self.size.height - self._first_source_row - self._has_keys)

    @property
    def _first_shown(self) -> int:
        return max(0, min(self._cursor - self._source_rows + 1, len(self._top) - self._source_rows))

    def _sentences(self) -> list[Content]:
        """What it is, or what it is at, in as many rows: nothing jumps while it is computed."""
        if self.looks is None:
            return []
        # The sources have at least half of the list.
        rows = min(3, (self.size.height - 2) // 3) if self._has_keys else 0
        lines = sentence_lines(self.looks, self._text_width, rows)
        if not self._says:
            return lines
        said = Content.styled(cut(self._says, self._text_width), "meta")
        return [said, *[Content("")] * (len(lines) - 1)]

    def _contents(self) -> list[Content]:
        """All lines, from the top."""
        width = self._text_width
        if self.looks is None or self._is_trouble:
            style = "notice.warning" if self._is_trouble else "meta"
            said = [line.content.stylize_before(style) for line in wrap(Content(self._says), width)]
            lines, keys = [Content.styled("where it looked", "meta"), *said], "Esc back"
        else:
            sources = source_contents(self.looks, self._top, width, self._cursor)
            first = self._first_shown
            shown = sources[first : first + self._source_rows]
            lines, keys = [title_content(self.looks, width), *self._sentences(), *shown], keys_line(width)
        if self._has_keys:
            lines += [Content("")] * (self.size.height - 1 - len(lines))
            lines.append(Content.styled(cut(keys, width), "meta"))
        return lines

    def notify_style_update(self) -> None:
        """Draw with another theme from now on."""
        self._palette = None
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        """All of it at once."""
        self._lines = self._contents()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the list."""
        palette = self._palette = self._palette or Palette(self.app.theme_variables)
        base = self.visual_style
        content = self._lines[y] if y < len(self._lines) else Content("")
        parts = (Content(" " * (self._column.left + len(BAR))) + content).render(
            base, end="", parse_style=palette.style
        )
        strip = Strip([Segment(text, style.rich_style) for text, style in parts])
        return strip.adjust_cell_length(self.size.width, base.rich_style)
