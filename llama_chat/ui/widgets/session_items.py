"""Sessions as lines of a list, each made when it is looked at: there may be 10,000 of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import overload

from textual.content import Content

from llama_chat.conversation import short_id
from llama_chat.sanitize import one_line, sanitize
from llama_chat.sessions import SessionInfo
from llama_chat.ui.widgets.filter_list import Item


def day_group(when: date, today: date) -> str:
    """The heading for a day: `Today`, `Yesterday`, `This week`, or its month."""
    if when >= today:
        return "Today"
    if when == today - timedelta(days=1):
        return "Yesterday"
    if when > today - timedelta(days=7):
        return "This week"
    return when.strftime("%B %Y")


class SessionItems(Sequence[Item]):
    """The sessions, each with the id that `--resume` takes; the open one has a mark.

    Args:
        sessions: newest first.
        current_id: of the open one.
        today: what the days are counted from.
        is_narrow: there is no room for the id at the end of the line: it stands in a second one.
    """

    def __init__(
        self, sessions: Sequence[SessionInfo], current_id: str | None, today: date, *, is_narrow: bool = False
    ) -> None:
        self._sessions = sessions
        self._current_id = current_id
        self._today = today
        self._is_narrow = is_narrow
        self._made: dict[int, Item] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        item = self._made.get(place)
        if item is None:
            item = self._made[place] = self._make(self._sessions[place])
        return item

    def _make(self, info: SessionInfo) -> Item:
        title = one_line(info.title)
        is_current = info.id == self._current_id
        content = Content.assemble(("● ", "$primary"), (title, "bold")) if is_current else Content(title)
        when = datetime.fromtimestamp(info.updated_at)
        group = day_group(when.date(), self._today)
        clock = when.strftime("%H:%M" if when.date() >= self._today else "%m-%d")
        search = f"{title} {group} {info.model} {short_id(info.id)}"
        if self._is_narrow:
            facts = f"\n   {sanitize(short_id(info.id))} · {clock} · {info.message_count:,} msg"
            return Item(info.id, content + Content.styled(facts, "$foreground 50%"), search, group)
        facts = f"{info.message_count:,} msg  {clock}  {sanitize(short_id(info.id))}"
        aside = Content.styled(facts, "$foreground 50%")
        return Item(info.id, content, search, group, aside=aside)
