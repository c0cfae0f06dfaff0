"""The line above a message (who, when, how fast) and the one below it (how the reply ended)."""

from __future__ import annotations

import time

from textual.content import Content

from llama_chat.chat.words import altered_of, drafted_of, end_text, figures_of, name_of
from llama_chat.conversation import Message, Reply
from llama_chat.sanitize import one_line
from llama_chat.ui.markdown.line import wrap
from llama_chat.ui.transcript.rows import spread
from llama_chat.ui.widgets.fitting import cut

_LEAST_ALTERED_CELLS, _MOST_ALTERED_CELLS = 14, 40


def head_line(message: Message, width: int, *, live: str | None, place: tuple[int, int] | None) -> Content:
    """Name and time at the left; the place among siblings and the figures at the right."""
    name = Content.styled(name_of(message), f"name.{message.role}")
    clock = Content.styled("  " + time.strftime("%H:%M", time.localtime(message.created_at)), "meta")
    figures = one_line(live) if live is not None else figures_of(message.reply)
    siblings = place_text(place)
    right = Content.styled("   ".join(filter(None, (siblings, figures))), "meta")
    left = name + clock
    drafted = drafted_of(message.reply) if live is None and figures else ""
    if drafted and left.cell_length + right.cell_length + len(drafted) + 5 <= width:
        tokens, *speed = figures.split(" · ")
        figures = " · ".join((f"{tokens}, {drafted}", *speed))
        right = Content.styled("   ".join(filter(None, (siblings, figures))), "meta")
    if altered := altered_of(message.reply):
        room = width - left.cell_length - 2
        beside = room - right.cell_length - 2
        cells = beside if beside >= _LEAST_ALTERED_CELLS else min(room, _MOST_ALTERED_CELLS)
        left += Content.styled(f"  {cut(altered, max(0, cells))}", "foot")
    line = spread(left, right, width)
    if siblings and right.plain not in line.plain:
        return spread(left, Content.styled(siblings, "meta"), width)
    return line


def place_text(place: tuple[int, int] | None) -> str:
    """`‹ 2/3 ›`; empty for the only one."""
    return f"‹ {place[0]}/{place[1]} ›" if place and place[1] > 1 else ""


def foot_line(reply: Reply | None) -> Content | None:
    """How the reply ended, where that is worth a line."""
    if not (text := end_text(reply)):
        return None
    if reply is not None and reply.finish_reason == "failed":
        return Content.styled(f"✗ {text}", "foot.error")
    return Content.styled(text, "foot")


def foot_lines(reply: Reply | None, offer: str, width: int) -> list[Content]:
    """How the reply ended and what can be done about it, which is never parted; nothing for a good end."""
    if (words := foot_line(reply)) is None:
        return []
    lines = [line.content for line in wrap(words, width)]
    if not offer:
        return lines
    button = Content.styled(offer, "foot.offer").truncate(width, ellipsis=True)
    if lines[-1].cell_length + 1 + button.cell_length <= width:
        return [*lines[:-1], lines[-1] + Content(" ") + button]
    return [*lines, button]
