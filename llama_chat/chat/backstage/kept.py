"""Whether all that was said is on the disk, and why not: told when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from llama_chat.chat.backstage import notes
from llama_chat.errors import LlamaChatError, StoreError
from llama_chat.sessions import SessionStore, StoreUnavailable

T = TypeVar("T")

LASTING_S = 1.0
"""How long it may take nothing before the user hears why."""


class KeptWatch:
    """Follows what is written; called on whatever thread has written it.

    Args:
        store: when it cannot be opened, nothing will ever be kept.
        put: takes a note for the screen.
    """

    def __init__(self, store: SessionStore, put: Callable[[notes.Note], None]) -> None:
        self._store = store
        self._put = put
        self._is_written = True
        self._failed: set[object] = set()
        self._told = notes.Kept(True)
        self._behind_since_s: float | None = None
        self._told_trouble = ""

    def delivered(self, is_written: bool, trouble: StoreUnavailable | None) -> None:
        """Events were recorded or, as long as there is `trouble`, wait for that."""
        self._is_written = is_written
        self._tell_kept()
        self._tell_trouble(trouble)

    def watched(self, future: Future[T], *, whose: object | None = None) -> Future[T]:
        """Tell of a failure; while what is `whose` has failed last, not all is saved."""

        def tell(done: Future[T]) -> None:
            error = done.exception()
            if whose is not None:
                (self._failed.discard if error is None else self._failed.add)(whose)
                self._tell_kept()
            if isinstance(error, LlamaChatError):
                self._put(notes.NotKept(error))
            elif error is not None:
                self._put(notes.NotKept(StoreError(f"Something could not be kept: {error}")))

        future.add_done_callback(tell)
        return future

    def _tell_kept(self) -> None:
        now = notes.Kept(self._is_written and not self._failed, can_be=self._store not in self._failed)
        if now != self._told:
            self._told = now
            self._put(now)

    def _tell_trouble(self, trouble: StoreUnavailable | None) -> None:
        """Why nothing is kept, once that lasts; the mark in the status bar was there before."""
        if trouble is None:
            self._behind_since_s, self._told_trouble = None, ""
            return
        now_s = time.monotonic()
        self._behind_since_s = self._behind_since_s or now_s
        if now_s - self._behind_since_s >= LASTING_S and str(trouble) != self._told_trouble:
            self._told_trouble = str(trouble)
            self._put(notes.NotKept(trouble))
