"""Past sessions by day, to be found by typing and opened with Enter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from textual.content import Content

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


def session_items(sessions: Sequence[SessionInfo], current_id: str | None, today: date) -> list[Item]:
    """One line for each session; the open one has a mark."""
    items: list[Item] = []
    for info in sessions:
        title = " ".join(sanitize(info.title).split())
        is_current = info.id == current_id
        content = Content.assemble(("● ", "$primary"), (title, "bold")) if is_current else Content(title)
        group = day_group(datetime.fromtimestamp(info.updated_at).date(), today)
        items.append(Item(info.id, content, f"{title} {group} {info.model}", group))
    return items
