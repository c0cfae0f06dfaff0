"""Search in all sessions: hits come as one types, Enter goes to the message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from llama_chat.errors import LlamaChatError
from llama_chat.sanitize import sanitize
from llama_chat.sessions import SearchHit
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.screens.session_openers import open_session, read_store
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.hit_lines import HitLines
from llama_chat.ui.widgets.options import Options

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

DEBOUNCE_S = 0.08
"""A search waits until no key has come for so long."""
MOST_HITS = 50
_HINTS = (
    'Enter opens · ↑ ↓ · "a phrase" in quotes · Esc back',
    "Enter opens · Esc back",
)
_ABOUT = "Words of any message; the last one may be its beginning only."


class SearchScreen(Card[SearchHit]):
    """A line to type into, and what was found; the result is the chosen hit.

    Args:
        chat_screen: whose store is searched.
        words: what is searched for at first.
    """

    DEFAULT_CSS = """
    SearchScreen > .card { width: 100; max-width: 96%; height: 100%; max-height: 40; }
    SearchScreen.-narrow > .card { width: 100%; max-width: 100%; }
    SearchScreen {
        & Input {
            border: none;
            height: 1;
            margin: 0 1 1 1;
            padding: 0;
            background: transparent;
            &:focus { border: none; background-tint: $foreground 0%; }
        }
        & OptionList {
            height: 1fr;
            border: none;
            padding: 0;
            background: transparent;
            scrollbar-size-vertical: 1;
            & > .option-list--option-disabled { color: $foreground 50%; }
            & > .option-list--option-highlighted {
                background: $primary 25%;
                color: $foreground;
                text-style: none;
            }
            &:nocolor > .option-list--option-highlighted { text-style: reverse; }
            &:ansi > .option-list--option-highlighted {
                background: $block-cursor-background;
                color: $block-cursor-foreground;
                text-style: $block-cursor-text-style;
            }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move('cursor_down')", show=False, priority=True),
        Binding("up", "move('cursor_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("f3", "leave", show=False),
    ]

    def __init__(self, chat_screen: ChatViewScreen, words: str = "") -> None:
        super().__init__()
        self._chat_screen = chat_screen
        self._first_words = words
        self._hits: Sequence[SearchHit] = ()
        self._found_for: str | None = None
        self._is_wanted = False

    def compose(self) -> ComposeResult:
        """Title, input, hits, keys."""
        with Vertical(classes="card"):
            yield Static(Content("Search in all sessions"), classes="title")
            yield Input(self._first_words, placeholder="words, or “a phrase”…", compact=True)
            options = Options(compact=True)
            options.can_focus = False
            yield options
            yield FittingLine(*_HINTS, classes="hint")

    def on_mount(self) -> None:
        """Search for what is there already."""
        self._say(_ABOUT)

    @on(Input.Changed)
    def _search_soon(self, event: Input.Changed) -> None:
        event.stop()
        self._is_wanted = False
        self.run_worker(self._search(event.value), group="search", exclusive=True)

    async def _search(self, words: str) -> None:
        await asyncio.sleep(DEBOUNCE_S)
        try:
            store = self._chat_screen.bridge.store
            hits = await read_store(self._chat_screen, store.search, words, MOST_HITS)
        except LlamaChatError as error:
            if self._is_there:
                self._say(str(error))
        else:
            if self._is_there:
                self._show(words, hits)

    @property
    def _is_there(self) -> bool:
        """Whether the list is: when the card is closed it goes first, and the work for it ends later."""
        return bool(self.query(OptionList))

    def _show(self, words: str, hits: Sequence[SearchHit]) -> None:
        self._hits, self._found_for = hits, words
        options = self.query_one(OptionList)
        if hits:
            options.set_options([Option(HitLines(hit), id=str(place)) for place, hit in enumerate(hits)])
            options.highlighted = 0
        else:
            self._say("Nothing was found." if words.strip() else _ABOUT)
        if self._is_wanted:
            self._is_wanted = False
            options.action_select()

    def _say(self, text: str) -> None:
        self.query_one(OptionList).set_options([Option(Content(f" {sanitize(text)}"), disabled=True)])

    def action_move(self, how: str) -> None:
        """Move the mark while the input keeps the focus."""
        getattr(self.query_one(OptionList), f"action_{how}")()

    @on(Input.Submitted)
    def _take_marked(self, event: Input.Submitted) -> None:
        """Open the marked hit, once those for the typed words are there."""
        event.stop()
        if self._found_for == event.value:
            self.query_one(OptionList).action_select()
        else:
            self._is_wanted = True

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.dismiss(self._hits[int(event.option.id)])


def open_search(chat_screen: ChatViewScreen, words: str) -> None:
    """Search, and open what is chosen."""

    def take(hit: SearchHit | None) -> None:
        if hit is not None:
            open_session(chat_screen, hit.session, hit.message_id)

    chat_screen.app.push_screen(SearchScreen(chat_screen, words), take)
