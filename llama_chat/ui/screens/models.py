"""The card with the models: those on this disk and those that can be fetched; a path can be typed, too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.prompt.typed_path import typed_path
from llama_chat.errors import LlamaChatError
from llama_chat.sanitize import sanitize
from llama_chat.shelves.facts import read_facts
from llama_chat.ui.model_finding import ModelFinding
from llama_chat.ui.model_paths import is_path, path_completions
from llama_chat.ui.model_rows import ModelRow, item_of
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.fitting import FittingLine

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

HINTS = (
    "Enter loads it · Tab completes a path · Esc back",
    "Enter loads · Tab completes · Esc back",
    "Enter loads it · Esc back",
    "Enter · Esc",
)
PATH = "path:"
NO_SUCH = "No model has “{}” in its name."
NO_OTHER = "No other model can be loaded here."


def choose_model(screen: ChatViewScreen) -> None:
    """Show what there is; the chosen one is loaded."""

    def take(name: str | None) -> None:
        if name is not None:
            take_model(screen, name)

    screen.app.push_screen(ModelsScreen(screen), take)


def take_model(screen: ChatViewScreen, name: str) -> None:
    """Load what the name, the path or the id stands for, instead of the model that runs."""
    open_model = screen.setup.open_model
    if open_model is None:
        screen.hint(NO_OTHER, "warning")
        return
    try:
        model = open_model(name)
    except LlamaChatError as error:
        screen.hint(str(error), "warning")
    else:
        screen.chat.switching.begin(model)


class ModelList(FilterList):
    """A list of models, or while a path is typed, of how it may go on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", show=False, priority=True)]

    def __init__(self, placeholder: str, *, empty: str) -> None:
        super().__init__(placeholder, empty=empty, none_found=NO_SUCH)
        self._reader = OwnThread("looking at a path")
        self._asked = ""
        self._completions: tuple[str, list[str]] = ("", [])

    def on_unmount(self) -> None:
        """Nothing more is asked."""
        self._reader.close(0)

    def _find(self, words: Sequence[str]) -> Sequence[Item]:
        typed = self.query_one(Input).value
        if not is_path(typed):
            return super()._find(words)
        known_for, paths = self._completions
        if known_for != typed:
            self._ask(typed)  # until that is answered, Enter takes what is typed
            others = [path for path in paths if path.startswith(typed) and path != typed]
            return [_path_item(path) for path in (typed, *others)]
        return [_path_item(path) for path in _with_typed(typed, paths)]

    def _ask(self, typed: str) -> None:
        """Ask the disk, beside the screen."""
        if self._asked == typed:
            return
        self._asked = typed

        def take(done: Future[list[str]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self.call_later(self._take_completions, typed, done)

        self._reader.do(lambda: path_completions(typed)).add_done_callback(take)

    def _take_completions(self, typed: str, done: Future[list[str]]) -> None:
        if typed == self._asked and self.is_attached:
            self._asked, self._completions = "", (typed, done.result())
            self._fill(self.highlighted_id)

    async def problem_of(self, typed: str) -> str:
        """Why what the path names is no model; empty if it is one."""
        return await asyncio.wrap_future(self._reader.do(lambda: read_facts(typed_path(typed)).problem))

    def action_complete(self) -> None:
        """Take the marked path into the input."""
        if (marked := self.highlighted_id) is not None and marked.startswith(PATH):
            self.type(marked.removeprefix(PATH))


def _with_typed(typed: str, completions: list[str]) -> list[str]:
    """A folder that has been typed whole comes first: it may be a model itself."""
    return [typed, *completions] if typed.endswith("/") else completions


def _path_item(path: str) -> Item:
    return Item(PATH + path, Content.assemble("  ", sanitize(path)), path)


class ModelsScreen(Card[str]):
    """Choose a model; what `--model` takes is the result.

    Args:
        chat_screen: whose model may be another one.
    """

    DEFAULT_CSS = """
    ModelsScreen > .card { height: 80%; max-height: 36; }
    ModelsScreen.-wide > .card { width: 96; }
    ModelsScreen.-low > .card { height: 100%; }
    """

    class Learned(Message):
        """More is known of the models."""

        def __init__(self, rows: Sequence[ModelRow]) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, chat_screen: ChatViewScreen) -> None:
        super().__init__()
        self._chat_screen = chat_screen
        self._rows: dict[str, ModelRow] = {}
        self._first: str | None = None
        info = chat_screen.chat.info
        self._running_path = Path(info.path) if info else None
        self._finding = ModelFinding(
            chat_screen.setup,
            chat_screen.bridge.used,
            info.device if info else "",
            self._freed_bytes,
            self._tell,
        )

    def _tell(self, rows: Sequence[ModelRow]) -> None:
        self.post_message(self.Learned(rows))

    def _freed_bytes(self) -> int | None:
        """What the model that runs gives back; None before there is one: then torch is not there either."""
        info = self._chat_screen.chat.info
        return info.weights_bytes if info is not None else None

    def compose(self) -> ComposeResult:
        """Title, list, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Models"), classes="title")
            yield ModelList("type to search, or a path…", empty="Looking for models…")
            yield FittingLine(*HINTS, classes="hint")

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(ModelList).show_items(())
        self._finding.start()

    def on_unmount(self) -> None:
        """Look no further."""
        self._finding.stop()

    def on_resize(self) -> None:
        """Say as much of each model as there is room for."""
        super().on_resize()
        self.call_after_refresh(self._show)

    @on(Learned)
    def _take_in(self, event: Learned) -> None:
        self._rows = {row.id: row for row in event.rows}
        self._show()

    def _show(self) -> None:
        models = self.query_one(ModelList)
        cells = models.content_size.width - 2
        items = [item_of(row, cells, self._running_path) for row in self._rows.values()]
        models.show_items(items, marked=self._marked(models.highlighted_id))

    def _marked(self, cursor: str | None) -> str | None:
        """Where the user took the cursor; else the model that runs, or the first one that can."""
        if cursor not in (None, self._first):
            return cursor
        rows = self._rows.values()
        running = (row.id for row in rows if row.model.path == self._running_path)
        usable = (row.id for row in rows if not row.problem)
        self._first = next(running, None) or next(usable, None)
        return self._first

    @on(FilterList.Chosen)
    def _take(self, event: FilterList.Chosen) -> None:
        if event.item_id.startswith(PATH):
            self._take_path(event.item_id.removeprefix(PATH))
            return
        model = self._rows[event.item_id].model
        self.dismiss(str(model.path) if model.path is not None else model.name)

    @work(exclusive=True)
    async def _take_path(self, typed: str) -> None:
        """A folder that is no model is gone into."""
        models = self.query_one(ModelList)
        is_open_folder = typed.endswith("/") and await models.problem_of(typed)
        if is_open_folder and models.query_one(Input).value != typed:
            models.type(typed)
        else:
            self.dismiss(typed)
