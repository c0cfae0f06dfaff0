"""Past sessions by day, to be found by typing and opened with Enter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from textual.content import Content

from llama_chat.conversation import short_id
from llama_chat.sanitize import sanitize
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


def session_items(
    sessions: Sequence[SessionInfo], current_id: str | None, today: date, *, is_narrow: bool = False
) -> list[Item]:
    """The sessions, each with the id that `--resume` takes; the open one has a mark.

    Args:
        sessions: newest first.
        current_id: of the open one.
        today: what the days are counted from.
        is_narrow: there is no room for the id at the end of the line: it stands in a second one.
    """
    return [_item(info, info.id == current_id, today, is_narrow) for info in sessions]


def _item(info: SessionInfo, is_current: bool, today: date, is_narrow: bool) -> Item:
    title = " ".join(sanitize(info.title).split())
    content = Content.assemble(("● ", "$primary"), (title, "bold")) if is_current else Content(title)
    aside = Content.styled(sanitize(short_id(info.id)), "$foreground 50%")
    group = day_group(datetime.fromtimestamp(info.updated_at).date(), today)
    search = f"{title} {group} {info.model} {short_id(info.id)}"
    if is_narrow:
        count = f" · {info.message_count:,} message{'' if info.message_count == 1 else 's'}"
        second = Content("\n   ") + aside + Content.styled(count, "$foreground 50%")
        return Item(info.id, content + second, search, group)
    return Item(info.id, content, search, group, aside=aside)
