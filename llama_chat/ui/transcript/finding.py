"""Words that are looked for: counted in the texts of all messages, lit up in the rows that are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from rich.style import Style as RichStyle
from textual.message import Message as TextualMessage
from textual.strip import Strip

from llama_chat.chat.finding import Needle, fold_case
from llama_chat.ui.transcript.copying import CopyingView
from llama_chat.ui.transcript.entries import Entry, MessageEntry
from llama_chat.ui.transcript.rows import Row
from llama_chat.ui.transcript.selecting import highlight

CONTEXT_SHARE = 1 / 3
"""So much of the view stays above a hit that was scrolled to."""
_CURRENT = RichStyle(bold=True, reverse=True)
_PLAIN = RichStyle(underline=True, bold=True)
"""Where there are no shades: on the terminal's own colours, and on none."""


@dataclass(slots=True)
class DrawnHits:
    """Where the words stand in the rows of an entry."""

    rows: list[int] = field(default_factory=list)
    """The row that each hit begins in."""
    spans: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    """By row: beginning and end in its text, and which hit it is."""


def find_in_rows(needle: Needle, rows: list[Row]) -> DrawnHits:
    """The hits in what is drawn; one may go on in the next row."""
    parts: list[str] = []
    for row in rows:
        joint = "\n" if row.line.joint is None else row.line.joint
        parts += [joint if parts else "", row.line.content.plain]
    starts = [*accumulate(map(len, parts), initial=0)]
    found = DrawnHits()
    number = 0
    for hit, (start, end) in enumerate(needle.spans(fold_case("".join(parts)))):
        while starts[2 * number + 2] <= start:
            number += 1
        found.rows.append(number)
        at = number
        while at < len(rows) and (first := starts[2 * at + 1]) < end:
            last = min(end, starts[2 * at + 2]) - first
            if (begin := max(0, start - first)) < last:
                found.spans.setdefault(at, []).append((begin, last, hit))
            at += 1
    return found


class FindingView(CopyingView):
    """A view of messages that words can be looked for in."""

    class FoundChanged(TextualMessage):
        """Another hit is the current one, or there are more or fewer.

        Attributes:
            place: of the current one, from 1; 0 where there is none.
            total: how many there are.
        """

        def __init__(self, view: FindingView, place: int, total: int) -> None:
            super().__init__()
            self.view = view
            self.place, self.total = place, total

        @property
        def control(self) -> FindingView:
            """The view that sent it."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._needle = Needle("")
        self._counts: list[int] = []
        self._folded: dict[str, tuple[str, str]] = {}
        """By the id of a message: its text, and the same in small letters."""
        self._drawn: dict[Entry, tuple[int, DrawnHits]] = {}
        self._hit: tuple[Entry, int] | None = None
        """The current one: its entry, and which of the hits in that it is."""
        self._search_from: tuple[int, int] | None = None

    # --- what is asked for ------------------------------------------------------------------------

    def find(self, words: str) -> None:
        """Look for the words from where the view stands, and go to the first hit below its top."""
        if self._search_from is None:
            index = self._heights.find(self.scroll_offset.y)
            self._search_from = index, self.scroll_offset.y - self._heights.start(index)
        self._needle = Needle(words)
        self._hit = None
        self._recount()
        if any(self._counts):
            self._go_to(*self._first_hit(*self._search_from))
        self._found_changed()

    def find_next(self, step: int) -> None:
        """Go to the hit so many further; behind the last comes the first."""
        total = sum(self._counts)
        if not total:
            return
        place = (self._place_of_hit() - 1 + step) % total
        for index, count in enumerate(self._counts):
            if place < count:
                self._go_to(index, place)
                break
            place -= count
        self._found_changed()

    def end_finding(self) -> None:
        """Light nothing up any more; the view stays where it is."""
        self._needle, self._hit, self._search_from = Needle(""), None, None
        self._counts.clear()
        self._folded.clear()
        self._drawn.clear()
        self.refresh()

    # --- counting ---------------------------------------------------------------------------------

    def _recount(self) -> None:
        """Count again in every message: the words or the messages are others."""
        self._drawn.clear()
        if self._needle:
            self._counts = [self._count(entry) for entry in self._entries]

    def _count(self, entry: Entry) -> int:
        if not isinstance(entry, MessageEntry):
            return 0
        text = entry.text
        known = self._folded.get(entry.message.id)
        if known is None or known[0] is not text:
            known = self._folded[entry.message.id] = text, fold_case(text)
        return self._needle.count(known[1])

    def _entries_changed(self) -> None:
        """Other messages are shown."""
        if self._needle:
            self._recount()
            if self._hit is not None and self._hit[0] not in self._entries:
                self._hit = None
            self._found_changed()

    def _text_changed(self, place: int) -> None:
        """A message has grown."""
        if self._needle and place < len(self._counts):
            count = self._count(self._entries[place])
            if count != self._counts[place]:
                self._counts[place] = count
                self._found_changed()

    def _place_of_hit(self) -> int:
        """Which of all hits the current one is, from 1; 0 where there is none."""
        if self._hit is None:
            return 0
        entry, number = self._hit
        index = self._entries.index(entry)
        return sum(self._counts[:index]) + min(number, max(0, self._counts[index] - 1)) + 1

    def _found_changed(self) -> None:
        self.post_message(self.FoundChanged(self, self._place_of_hit(), sum(self._counts)))
        self.refresh()

    # --- going there ------------------------------------------------------------------------------

    def _first_hit(self, index: int, row: int) -> tuple[int, int]:
        """The first hit at or below this row of the entry; where there is none, the last one above."""
        if index < len(self._counts) and self._counts[index]:
            hits = self._hits_in(self._entries[index])
            here = next((number for number, at in enumerate(hits.rows) if at >= row), None)
            if here is not None and here < self._counts[index]:
                return index, here
        below = range(index + 1, len(self._counts))
        if (found := next((n for n in below if self._counts[n]), None)) is not None:
            return found, 0
        above = next((n for n in range(min(index, len(self._counts) - 1), -1, -1) if self._counts[n]), 0)
        return above, self._counts[above] - 1

    def _go_to(self, index: int, number: int) -> None:
        """Make this hit the current one, and bring it into view."""
        entry = self._entries[index]
        assert isinstance(entry, MessageEntry)
        self._hit = entry, number
        if entry.has_thoughts:
            needle = self._needle
            thoughts = [
                n for n, text in entry.thought_texts() if n is not None and needle.count(fold_case(text))
            ]
            self.unfold(entry, thoughts)
        entry.lay_out()
        self._heights.recount(self._entries, index)
        hits = self._hits_in(entry)
        row = hits.rows[min(number, len(hits.rows) - 1)] if hits.rows else 0
        self._bring_into_view(index, row)

    def _bring_into_view(self, index: int, row: int) -> None:
        height = self._view_size.height
        if not height:
            return
        at, top = self._heights.start(index) + row, self.scroll_offset.y
        margin = min(1, height // 4)
        above = at - top if margin <= at - top < height - margin else int(height * CONTEXT_SHARE)
        self._follows_end = False
        for _ in range(2):  # what is above has its true height the second time
            self._settle(self._heights.start(index) + row - above)
        self._follows_end = self.scroll_offset.y >= self._heights.total - height
        self.refresh()

    # --- painting ---------------------------------------------------------------------------------

    def _hits_in(self, entry: Entry) -> DrawnHits:
        rows = entry.lay_out()
        known = self._drawn.get(entry)
        if known is None or known[0] != entry.version:
            known = self._drawn[entry] = entry.version, find_in_rows(self._needle, rows)
        return known[1]

    def render_line(self, y: int) -> Strip:
        """The strip of one line of the view, what is looked for lit up in it."""
        strip = super().render_line(y)
        found = self._row_at(y + self.scroll_offset.y) if self._needle else None
        if found is None or not found[2].line.content:
            return strip
        index, number, row = found
        entry = self._entries[index]
        if not isinstance(entry, MessageEntry):
            return strip
        painter = self._painter or self._make_painter()
        hits = self._hits_in(entry)
        current = min(self._hit[1], len(hits.rows) - 1) if self._hit and self._hit[0] is entry else -1
        is_plain = self.app.no_color or self.app.current_theme.ansi
        shade = _PLAIN if is_plain else painter.highlight("found")
        start = painter.text_start(row)
        for begin, end, hit in hits.spans.get(number, ()):
            style = _CURRENT if hit == current else shade
            strip = highlight(strip, row, start, (start + begin, start + end), style)
        return strip
