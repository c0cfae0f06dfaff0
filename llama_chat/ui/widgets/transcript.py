"""The conversation on the screen: one view that draws its lines itself and mounts nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from textual.message import Message as TextualMessage
from textual.strip import Strip

from llama_chat.conversation import Message
from llama_chat.ui.pacing import FIGURES_PATIENCE_S, FIGURES_S, Paced
from llama_chat.ui.transcript.entries import Entry, MessageEntry, NoticeEntry, NoticeKind
from llama_chat.ui.transcript.looking import LookingView

LONG_TAIL = 4_000
"""Characters of one open block beyond which it is parsed again only every `LONG_TAIL_S`."""
LONG_TAIL_S = 0.1
_BORDERLESS = frozenset({"-low", "-tiny"})
"""Classes of a screen whose prompt has no border."""


class Transcript(LookingView):
    """Messages and notices, the newest at the end.

    Heights are estimates until a message comes near the view; what is in the view stays where it is when
    they become exact, and when the width changes. All text is foreign: nothing in it is taken as markup,
    and what could command the terminal is made visible.
    """

    class BelowChanged(TextualMessage):
        """There is more or less below the view than before."""

        def __init__(self, transcript: Transcript, lines: int) -> None:
            super().__init__()
            self.transcript = transcript
            self.lines = lines

        @property
        def control(self) -> Transcript:
            """The transcript that sent it."""
            return self.transcript

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  (Textual's)
        super().__init__(id=id, classes=classes)
        self._index: dict[str, int] = {}
        self._late: dict[str, asyncio.TimerHandle] = {}
        self._live_id = ""
        self._live_head = Paced(self._redraw_live_head, FIGURES_S, FIGURES_PATIENCE_S)

    def watch_below(self, lines: int) -> None:
        """Tell the screen."""
        self.post_message(self.BelowChanged(self, lines))
        if self._says_below:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The strip of one line; where the prompt has no border to say so, the last says what is below."""
        strip = super().render_line(y)
        if y != self._view_size.height - 1 or not self.below or not self._says_below:
            return strip
        label = (self._painter or self._make_painter()).label(f" ↓ {self.below:,} ", "below")
        room = self._view_size.width - label.cell_length
        return Strip.join((strip.crop(0, room), label)) if room > 0 else strip

    @property
    def _says_below(self) -> bool:
        return not _BORDERLESS.isdisjoint(self.screen.classes)

    # --- messages ----------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a message nor a notice."""
        return not self._entries

    def show(self, messages: Sequence[Message], *, keep_notices: bool = False) -> None:
        """Replace everything by these messages and go to their end.

        Notices stay, below them, where that is wanted; but not those that belong to a message.
        """
        kept = [entry for entry in self._notices() if keep_notices and entry.before is None]
        self._set_entries([*map(self._entry_of, messages), *kept])

    def _entry_of(self, message: Message) -> MessageEntry:
        """The one that shows this message already, with its rows; else a new one."""
        place = self._index.get(message.id)
        entry = self._entries[place] if place is not None else None
        if not isinstance(entry, MessageEntry) or entry.message is not message or entry.live_head is not None:
            return self._new_entry(message)
        if entry.place is not None or entry.is_marked:
            entry.place = None
            entry.mark(False)
        return entry

    def _new_entry(self, message: Message) -> MessageEntry:
        entry = MessageEntry(message)
        self._take_folds(entry)
        return entry

    def clear(self) -> None:
        """Take everything away."""
        self._set_entries([])

    def add(self, message: Message) -> None:
        """Put a message at the end.

        Raises:
            ValueError: it is there already.
        """
        if message.id in self._index:
            raise ValueError(f"message {message.id} is in the transcript already")
        self._insert(len(self._entries), self._new_entry(message))

    def append_text(self, message_id: str, text: str) -> None:
        """Let a message grow at its end.

        Raises:
            KeyError: it is not in the transcript.
        """
        entry = self._message(message_id)
        entry.append(text)
        now = time.monotonic()
        if entry.tail_length > LONG_TAIL and now - entry.updated_at < LONG_TAIL_S:
            if message_id not in self._late:
                wait_s = entry.updated_at + LONG_TAIL_S - now
                # Not a timer of Textual's: on a busy machine one may never tick (Textual 8.2.8, 2026-11).
                loop = asyncio.get_running_loop()
                self._late[message_id] = loop.call_later(wait_s, self._draw_late, message_id)
            return
        self._draw_pending(message_id)

    def replace(self, message: Message) -> None:
        """Take the record of a message as it is now: head and foot are drawn again, its text if it differs.

        Raises:
            KeyError: it is not in the transcript.
        """
        entry = self._message(message.id)
        self._stop_late(message.id)
        entry.replace(message)
        self._offer_at_end()
        self._changed(message.id, 0)

    def go_to_message(self, message_id: str) -> None:
        """Put a message at the top of the view and mark it, until others are shown or another is marked.

        Raises:
            KeyError: it is not in the transcript.
        """
        for entry in self._entries:
            if isinstance(entry, MessageEntry) and entry.is_marked:
                entry.mark(False)
        self._message(message_id).mark(True)
        self.stand_at_entry(self._index[message_id])

    def set_head(self, message_id: str, text: str) -> None:
        """Show figures at the right end of a message's head until `replace` brings the final ones.

        Raises:
            KeyError: it is not in the transcript.
        """
        entry = self._message(message_id)
        entry.live_head = text
        if message_id == self._live_id:
            self._live_head.ask()
        else:
            self._live_id = message_id
            self._live_head.now()

    def set_place(self, message_id: str, place: int, count: int) -> None:
        """Show which of its siblings a message is (`‹ 2/3 ›`); nothing when it is the only one.

        Raises:
            KeyError: it is not in the transcript.
        """
        entry = self._message(message_id)
        entry.place = (place, count)
        self._redraw_head(message_id, entry)

    def add_notice(
        self, text: str, *, kind: NoticeKind = "info", about: str = "", before: str | None = None
    ) -> None:
        """Put in a line of the program's own: at the end, or before the message of that id.

        What it is `about` names it: it takes the place of an older one, and `drop_notices` takes it away.
        """
        self.drop_notices(about)
        place = len(self._entries) if before is None else self._index.get(before, len(self._entries))
        self._insert(place, NoticeEntry(text, kind, about, before))

    def drop_notices(self, about: str) -> None:
        """Take away what was said about this, since it is true no longer."""
        for entry in [entry for entry in self._notices() if about and entry.about == about]:
            self._remove(self._entries.index(entry))

    # --- what the view is told ---------------------------------------------------------------------

    def _notices(self) -> list[NoticeEntry]:
        return [entry for entry in self._entries if isinstance(entry, NoticeEntry)]

    def _set_entries(self, entries: list[Entry]) -> None:
        cursor = self._cursor_before()
        for message_id in list(self._late):
            self._stop_late(message_id)
        width, is_known = self._column.text_width, self._view_size.width > 0
        for entry in entries:
            if not is_known:
                entry.width = width  # heights are estimated when the true one is known
            elif entry.width != width:
                entry.resize(width)
        self._entries = entries
        self._heights.recount(entries)
        self._index = {}
        self._count_messages()
        if self.is_attached:
            self.screen.clear_selection()
        self._offer_at_end()
        self._entries_changed()
        self.follows_end = True
        self._restore_cursor(cursor)

    def _insert(self, place: int, entry: Entry) -> None:
        entry.resize(self._column.text_width)
        top = round(self.scroll_y)
        if place < len(self._entries) and self._heights.start(place) < top:
            entry.lay_out()
            top += entry.height
        self._entries.insert(place, entry)
        self._moved(place, top)

    def _remove(self, place: int) -> None:
        top = round(self.scroll_y)
        if self._heights.start(place) < top:
            top = max(self._heights.start(place), top - self._entries[place].height)
        del self._entries[place]
        self._moved(place, top)

    def _moved(self, place: int, top: int) -> None:
        """Entries have other places from this one on; what is in the view stays, its first row now `top`."""
        self._heights.recount(self._entries, place)
        self._count_messages(place)
        if self.is_attached and place < len(self._entries):
            self.screen.clear_selection()  # it names entries by their places
        self._offer_at_end()
        self._entries_changed()
        self._settle(top)
        self.refresh()

    def _count_messages(self, first: int = 0) -> None:
        for place, entry in enumerate(self._entries[first:], first):
            if isinstance(entry, MessageEntry):
                self._index[entry.message.id] = place

    def _place_of(self, message_id: str | None) -> int | None:
        return self._index.get(message_id) if message_id is not None else None

    def _message(self, message_id: str) -> MessageEntry:
        entry = self._entries[self._index[message_id]]
        assert isinstance(entry, MessageEntry)
        return entry

    def _draw_pending(self, message_id: str) -> None:
        self._stop_late(message_id)
        entry = self._message(message_id)
        entry.folds.keeps_open = not self.follows_end
        changed = entry.draw_pending()
        entry.updated_at = time.monotonic()
        self._changed(message_id, changed)

    def _draw_late(self, message_id: str) -> None:
        if self.is_attached and message_id in self._index:
            self._draw_pending(message_id)

    def _stop_late(self, message_id: str) -> None:
        if (timer := self._late.pop(message_id, None)) is not None:
            timer.cancel()

    def _changed(self, message_id: str, first_row: int) -> None:
        """Rows of a message have changed from this one on."""
        place = self._index[message_id]
        self._text_changed(place)
        self._entry_changed(place, first_row)

    def _redraw_live_head(self) -> None:
        if self._live_id in self._index:
            self._redraw_head(self._live_id, self._message(self._live_id))

    def _redraw_head(self, message_id: str, entry: MessageEntry) -> None:
        entry.redraw_head()
        start = self._heights.start(self._index[message_id])
        self._refresh_rows(start, start + 1)
