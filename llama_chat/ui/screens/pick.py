"""A card with a list to choose from: the palette, the themes, and the sessions where the screen is narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.fitting import FittingLine


class PickScreen(Card[str]):
    """Choose one item; its id is the result.

    Args:
        title: what is chosen.
        items: from top to bottom.
        marked: id of the item that the cursor starts on.
        preview: called with the id that the cursor is on.
        hint: a line below the list.
        short_hint: the same where there is little room.
        empty: shown when there are no items.
        words: typed into the search already.
    """

    DEFAULT_CSS = """
    PickScreen > .card { height: 70%; max-height: 32; }
    PickScreen.-low > .card { height: 100%; }
    PickScreen.-preview { background: $background 0%; align: right middle; }
    PickScreen.-preview > .card { width: 40; height: 80%; }
    """

    def __init__(
        self,
        title: str,
        items: Sequence[Item],
        *,
        marked: str | None = None,
        preview: Callable[[str], None] | None = None,
        hint: str = "Enter takes it · Esc back",
        short_hint: str = "",
        empty: str = "Nothing here.",
        words: str = "",
    ) -> None:
        super().__init__()
        self._title = title
        self._items = items
        self._marked = marked
        self._preview = preview
        self._hints = [words for words in (hint, short_hint) if words]
        self._empty = empty
        self._words = words
        self.set_class(preview is not None, "-preview")

    def compose(self) -> ComposeResult:
        """Title, list, hint."""
        with Vertical(classes="card"):
            yield Static(Content(self._title), classes="title")
            yield FilterList("type to search…", empty=self._empty)
            yield FittingLine(*self._hints, classes="hint")

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one(FilterList).show_items(self._items, marked=self._marked)
        if self._words:
            self.query_one(FilterList).type(self._words)

    @on(FilterList.Highlighted)
    def _show_preview(self, event: FilterList.Highlighted) -> None:
        if self._preview is not None:
            self._preview(event.item_id)

    @on(FilterList.Chosen)
    def _take(self, event: FilterList.Chosen) -> None:
        self.dismiss(event.item_id)
