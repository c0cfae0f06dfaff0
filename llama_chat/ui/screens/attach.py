"""A card to choose a file for the model: a path is typed, and completed from what is on the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.prompt.typed_path import PathEntry, entries_of
from llama_chat.sanitize import sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.units import about_bytes

HINTS = (
    "Enter attaches · Tab completes · ~ is your home · Esc back",
    "Enter attaches · Tab completes · Esc back",
    "Enter attaches · Tab · Esc back",
    "Enter · Esc",
)


class PathList(FilterList):
    """The ways that the typed path may go on; the disk is asked beside the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", show=False, priority=True)]

    def __init__(self) -> None:
        super().__init__("a path…", empty="Nothing there.")
        self._reader = OwnThread("completing")
        self._entries: dict[str, list[Item]] = {}

    def on_mount(self) -> None:
        """Begin with the working folder."""
        self._ask("")

    def on_unmount(self) -> None:
        """Let the thread end: it would hold the list for ever."""
        self._reader.close(0)

    @property
    def typed(self) -> str:
        """What stands in the line."""
        return self.query_one(Input).value

    def type(self, text: str) -> None:
        """Put the text into the line, as if it had been typed."""
        line = self.query_one(Input)
        line.value, line.cursor_position = text, len(text)

    def action_complete(self) -> None:
        """Take the marked path into the line."""
        if (marked := self.highlighted_id) is not None:
            self.type(marked)

    def _find(self, words: Sequence[str]) -> Sequence[Item]:  # noqa: ARG002  (a path is looked for as a whole)
        typed = self.typed
        if typed not in self._entries:
            self._ask(typed)
            return [item for item in self._items if item.id.startswith(typed)]
        return self._entries[typed]

    def _ask(self, typed: str) -> None:
        def take(done: Future[list[PathEntry]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self.call_later(self._take, typed, done)

        self._reader.do(lambda: entries_of(typed)).add_done_callback(take)

    def _take(self, typed: str, done: Future[list[PathEntry]]) -> None:
        self._entries[typed] = [_item(entry) for entry in done.result()]
        if typed == self.typed and self.is_attached:
            self.show_items(self._entries[typed])


def _item(entry: PathEntry) -> Item:
    style = "$primary" if entry.is_folder else ""
    size = "" if entry.size_bytes is None else about_bytes(entry.size_bytes)
    shown = Content.assemble((sanitize(entry.path).replace("\n", "␤").replace("\t", "␉"), style))
    return Item(entry.path, shown, entry.path, aside=Content.styled(size, "$foreground 60%"))


class AttachScreen(Card[str]):
    """Choose a file; its path is the result, as it was typed."""

    DEFAULT_CSS = """
    AttachScreen > .card { height: 70%; max-height: 28; }
    AttachScreen.-low > .card { height: 100%; }
    """

    def compose(self) -> ComposeResult:
        """Title, list, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Attach a file"), classes="title")
            yield PathList()
            yield FittingLine(*HINTS, classes="hint")

    @on(FilterList.Chosen)
    def _take(self, event: FilterList.Chosen) -> None:
        if event.item_id.endswith("/"):  # a folder is gone into
            self.query_one(PathList).type(event.item_id)
        else:
            self.dismiss(event.item_id)
