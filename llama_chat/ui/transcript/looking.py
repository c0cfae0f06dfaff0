"""Tokens of messages shaded in the transcript: what a token of a reply looked at, and that token itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.style import Style as RichStyle
from textual.strip import Strip

from llama_chat.ui.transcript.entries import Entry, MessageEntry
from llama_chat.ui.transcript.finding import FindingView
from llama_chat.ui.transcript.selecting import highlight

if TYPE_CHECKING:
    from llama_chat.ui.transcript.text_places import TextPlaces

LOOK_LEVELS = 8
"""Shades from the palest: more are not told apart on a background of text."""
_PLAIN = (
    *[RichStyle(underline=True)] * 5,
    *[RichStyle(underline=True, bold=True)] * 3,
)
"""Where there are no shades: on the terminal's own colours, and on none."""
_ASKED = RichStyle(bold=True, reverse=True)
_CHOSEN = RichStyle(bold=True, underline=True)


class LookMark(NamedTuple):
    """Characters of a message's text that are shaded."""

    start: int
    end: int
    level: int
    """Below `LOOK_LEVELS`; -1 for the token that is asked about."""
    is_chosen: bool = False
    """Whether the list's cursor is on it."""


class LookingView(FindingView):
    """A view of messages that shades what was looked at."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._looks: Mapping[str, Sequence[LookMark]] = {}
        self._places: dict[Entry, tuple[int, TextPlaces]] = {}
        self._shaded: dict[Entry, tuple[int, dict[int, list[tuple[int, int, LookMark]]]]] = {}

    def show_looks(self, looks: Mapping[str, Sequence[LookMark]]) -> None:
        """Shade these characters, by the ids of the messages, and no others."""
        self._looks = looks
        self._shaded.clear()
        self.refresh()

    def end_looks(self) -> None:
        """Shade nothing any more; the view stays where it is."""
        self.show_looks({})
        self._places.clear()

    def go_to_text(self, message_id: str, start: int, end: int) -> bool:
        """Bring these characters of a message into view, or its beginning; whether they are drawn at all.

        A thought that hides them is unfolded.
        """
        index = self._place_of(message_id)
        if index is None:
            return False
        entry = self._at(index)
        spans = self._places_in(entry).spans(start, end)
        if not spans and (entry.has_thoughts or entry.has_files):
            hidden = [number for number, _ in entry.thought_texts() if number is not None]
            if self.unfold(entry, hidden):
                entry.lay_out()
                self._heights.recount(self._entries, index)
                spans = self._places_in(entry).spans(start, end)
        self._bring_into_view(index, spans[0][0] if spans else 0)
        return bool(spans)

    def _places_in(self, entry: MessageEntry) -> TextPlaces:
        rows = entry.lay_out()
        known = self._places.get(entry)
        if known is None or known[0] != entry.version:
            from llama_chat.ui.transcript.text_places import TextPlaces

            known = self._places[entry] = entry.version, TextPlaces(entry.text, rows)
        return known[1]

    def _shades_in(self, entry: MessageEntry) -> dict[int, list[tuple[int, int, LookMark]]]:
        """By row: beginning, end and mark; the token that is asked about last, over all others."""
        places = self._places_in(entry)
        known = self._shaded.get(entry)
        if known is None or known[0] != entry.version:
            spans: dict[int, list[tuple[int, int, LookMark]]] = {}
            for mark in sorted(self._looks[entry.message.id], key=lambda mark: mark.level < 0):
                for row, begin, end in places.spans(mark.start, mark.end):
                    spans.setdefault(row, []).append((begin, end, mark))
            known = self._shaded[entry] = entry.version, spans
        return known[1]

    def render_line(self, y: int) -> Strip:
        """The strip of one line of the view, shaded."""
        strip = super().render_line(y)
        found = self._row_at(y + self.scroll_offset.y) if self._looks else None
        if found is None:
            return strip
        index, number, row = found
        entry = self._entries[index]
        if not isinstance(entry, MessageEntry) or entry.message.id not in self._looks:
            return strip
        painter = self._painter or self._make_painter()
        is_plain = self.app.no_color or self.app.current_theme.ansi
        start = painter.text_start(row)
        for begin, end, mark in self._shades_in(entry).get(number, ()):
            if mark.level < 0:
                style = _ASKED
            else:
                style = _PLAIN[mark.level] if is_plain else painter.highlight(f"look.{mark.level}")
                style = style + _CHOSEN if mark.is_chosen else style
            strip = highlight(strip, row, start, (start + begin, start + end), style)
        return strip
