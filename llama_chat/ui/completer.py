"""Completes what is typed into the prompt: decides what the list above it shows, and which keys it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.prompt.completing import (
    TAKES_PATHS,
    Offer,
    Typed,
    command_offers,
    fitting,
    is_whole,
    typed_in,
    unescaped,
)
from llama_chat.chat.prompt.typed_path import typed_path
from llama_chat.chat.prompt.written import without_controls

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen
    from llama_chat.ui.widgets.completion_list import CompletionList

_KEYS = frozenset({"enter", "tab", "up", "down", "pageup", "pagedown", "escape"})
_PAGE = 7


class Completer:
    """The list over the prompt of one screen; nothing is there before the first slash or `@`.

    Args:
        screen: the chat's.
    """

    def __init__(self, screen: ChatViewScreen) -> None:
        self._screen = screen
        self._prompt = screen.prompt
        self._list: CompletionList | None = None
        self._typed: Typed | None = None
        self._offers: Sequence[Offer] = ()
        self._marked: int | None = None
        self._left: tuple[str, int] | None = None
        self._passed_over: str | None = None
        self._asked: dict[Hashable, Future[list[Offer]]] = {}
        self._is_one_path = False
        self._thread = OwnThread("completing")

    @property
    def is_open(self) -> bool:
        """Whether there is something to choose."""
        return bool(self._offers)

    @property
    def offers(self) -> Sequence[Offer]:
        """What there is to choose, from top to bottom."""
        return self._offers

    # --- what is typed ----------------------------------------------------------------------------------

    def follow(self) -> None:
        """Look at the prompt as it is now."""
        row, column = self._prompt.cursor_location
        if row >= self._prompt.document.line_count:  # between two steps of one edit
            return
        line = self._prompt.document.get_line(row)
        if self._typed is None and self._left is None and "@" not in line and not line.startswith("/"):
            return
        is_typed = self._prompt.selection.is_empty and line != self._passed_over
        is_alone = self._prompt.document.line_count == 1
        typed = typed_in(line, column, is_only_line=is_alone) if is_typed else None
        if typed == self._typed:
            return
        before, self._typed = self._typed, typed
        if typed is None or before is None or (typed.kind, typed.action) != (before.kind, before.action):
            self._asked.clear()
        if typed is None or self._left != (typed.kind, typed.start):
            self._left = None
        self._refill()

    def _refill(self) -> None:
        typed = self._typed
        is_wanted = typed is not None and self._left is None
        self._offers = self._offers_for(typed) if typed is not None and is_wanted else ()
        self._marked = 0 if self._offers and typed is not None and self._takes_enter(typed) else None
        self._show()

    def _takes_enter(self, typed: Typed) -> bool:
        """Whether Enter takes the first offer, though the user did not go to it."""
        from llama_chat.chat.prompt.word_offers import FREE_WORDS

        if typed.kind == "words":
            if typed.action in TAKES_PATHS:
                name = unescaped(typed.words[self._start_in_words(typed) :])
                first = self._offers[0].text
                return bool(name.strip()) and unescaped(first) != name and _begins(first, name)
            is_known = any(offer.text.strip() == typed.text.strip() for offer in self._offers)
            return bool(typed.text.strip()) and not is_known and typed.action not in FREE_WORDS
        return bool(typed.text) and not is_whole(typed)

    def _offers_for(self, typed: Typed) -> Sequence[Offer]:
        from llama_chat.chat.prompt import word_offers

        if typed.kind == "command":
            return command_offers(typed.text, self._screen.keys.actions)
        if typed.kind == "path":
            return self._paths(typed.text)
        if typed.action in TAKES_PATHS:
            return self._path_words(typed)
        known = word_offers.Known(
            self._screen.setup,
            self._screen.bridge.store,
            self._screen.bridge.sampling.current,
            tuple(self._screen.app.available_themes),
            self._screen.presets.presets,
        )
        if (quick := word_offers.QUICK_SOURCES.get(typed.action)) is not None:
            return fitting(quick(known), typed.text)
        if (slow := word_offers.SLOW_SOURCES.get(typed.action)) is not None:
            return fitting(self._ask(("words", typed.action), lambda: slow(known)), typed.text)
        return ()

    def _paths(self, typed: str) -> list[Offer]:
        from llama_chat.chat.prompt.path_offers import list_folder
        from llama_chat.chat.prompt.typed_path import MOST_ENTRIES, going_on, split_path

        folder, name = split_path(typed)
        entries = self._ask(("path", folder), lambda: list_folder(folder))
        if len(entries) >= MOST_ENTRIES:  # not all of them
            entries = self._ask(("path", folder, name), lambda: list_folder(folder, name))
        return going_on(entries, name)

    def _path_words(self, typed: Typed) -> Sequence[Offer]:
        """What all the words as one path may go on to; where nothing begins so, the last one of several."""
        whole = unescaped(typed.words)
        begin = [offer for offer in self._paths(whole) if _begins(offer.text[1:], whole)]
        self._is_one_path = bool(begin)
        offers = begin or self._paths(unescaped(typed.text))
        return [replace(offer, text=offer.text.removeprefix("@"), path="") for offer in offers]

    def _start_in_words(self, typed: Typed) -> int:
        return 0 if self._is_one_path else len(typed.words) - len(typed.text)

    def _ask(self, key: Hashable, read: Callable[[], list[Offer]]) -> list[Offer]:
        """What was read; nothing as long as that goes on, and then the list is filled again."""
        future = self._asked.get(key)
        if future is None:
            future = self._asked[key] = self._thread.do(read)
            future.add_done_callback(self._arrived)
        if not future.done():
            return []
        if future.exception() is not None:  # the store may not be open yet: the next key asks again
            del self._asked[key]
            return []
        return future.result()

    def _arrived(self, _future: Future[list[Offer]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self._screen.call_later(self._refill)

    # --- what is done with it -----------------------------------------------------------------------------

    def take_key(self, key: str) -> bool:
        """Move the mark, take an offer, or close the list; whether the key was one for that."""
        if key not in _KEYS:
            return False
        self.follow()
        if not self._offers:
            return False
        if key == "escape":
            self.close()
        elif key == "enter" and self._marked is None:
            self.close()
            return False
        elif key in ("enter", "tab"):
            self.take(self._marked or 0, is_final=key == "enter")
        else:
            self._move({"up": -1, "down": 1, "pageup": -_PAGE, "pagedown": _PAGE}[key])
        return True

    def _move(self, by: int) -> None:
        last = len(self._offers) - 1
        if self._marked is None:
            self._marked = 0 if by > 0 else last
        elif abs(by) == 1:
            self._marked = (self._marked + by) % (last + 1)
        else:
            self._marked = max(0, min(self._marked + by, last))
        self._show()

    def take(self, place: int, *, is_final: bool) -> None:
        """Put the offer into the prompt; a command that is whole by that is sent, where that is wanted."""
        offer, typed = self._offers[place], self._typed
        assert typed is not None
        row, column = self._prompt.cursor_location
        text = "" if offer.path else without_controls(offer.text)
        start = typed.start
        if typed.action in TAKES_PATHS:
            start -= len(typed.words) - len(typed.text) - self._start_in_words(typed)
        self._prompt.replace(text, (row, start), (row, column), maintain_selection_offset=False)
        self._prompt.move_cursor((row, start + len(text)))
        self._prompt.focus()
        if offer.path:
            self._prompt.attach(typed_path(offer.path))
        if offer.must_go_on or (offer.goes_on and not is_final):
            self.follow()
            return
        self.close()
        if is_final and typed.kind != "path":
            self._prompt.send()

    def close(self) -> None:
        """Leave what is typed as it is; the list stays away until something else is begun."""
        self.follow()
        if self._typed is not None:
            self._left = (self._typed.kind, self._typed.start)
            self._refill()

    def pass_over(self) -> None:
        """Offer nothing for what stands in the prompt now, which was not typed, until it is changed."""
        row, _ = self._prompt.cursor_location
        self._passed_over = self._prompt.document.get_line(row)

    def _show(self) -> None:
        if self._list is None:
            if not self._offers:
                return
            from llama_chat.ui.widgets.completion_list import CompletionList

            self._list = CompletionList()
            self._screen.query_one("#prompt-row").mount(self._list, before=self._prompt)
        self._list.show(self._offers, self._marked)


def _begins(path: str, typed: str) -> bool:
    """Whether the path, escaped as it is offered, begins with what is typed."""
    return unescaped(path).casefold().startswith(typed.casefold())
