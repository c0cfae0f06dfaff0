"""The card with what was said before: found by typing, taken into the prompt by Enter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from llama_chat.markup.attached import in_short
from llama_chat.sanitize import one_line
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.widgets.filter_list import Item

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

_SHOWN_CHARACTERS = 300
_SEARCHED_CHARACTERS = 2_000


def choose_said(screen: ChatViewScreen, said: Sequence[str], words: str, take: Callable[[str], None]) -> None:
    """Let one of the texts be chosen, and take it.

    Args:
        screen: the chat's.
        said: the newest first.
        words: looked for at first.
        take: called with the chosen one.
    """

    def taken(place: str | None) -> None:
        if place is not None:
            take(said[int(place)])

    items = [_item(place, text) for place, text in enumerate(said)]
    card = PickScreen(
        "What was said before",
        items,
        hint="Enter puts it into the prompt · Esc back",
        short_hint="Enter takes it · Esc back",
        empty="Nothing was said yet.",
        words=words,
    )
    screen.app.push_screen(card, taken)


def _item(place: int, text: str) -> Item:
    lines = text.strip().count("\n") + 1
    aside = Content.styled(f"{lines:,} lines", "$foreground 50%") if lines > 1 else None
    shown = one_line(in_short(text)[:_SHOWN_CHARACTERS])
    return Item(str(place), Content(shown), text[:_SEARCHED_CHARACTERS], name=shown, aside=aside)
