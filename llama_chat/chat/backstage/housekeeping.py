"""The store of the chat from its opening to its close: what is told of it, and what is tidied meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from llama_chat.chat.backstage import notes
from llama_chat.errors import StoreError
from llama_chat.sessions import SessionStore, StoreUnavailable

_log = logging.getLogger(__name__)

PATIENCE_S = 0.25
"""How long the store may take before the user hears of it."""
TIDYING_PATIENCE_S = 0.5


class Housekeeping:
    """Opens the store, tidies it on a thread of its own, and finishes at the end what would have held it up.

    Args:
        store: not open yet.
        tell: hears what the user should know; called on the threads that find it out.
    """

    def __init__(self, store: SessionStore, tell: Callable[[notes.Note], None]) -> None:
        self._store = store
        self._tell = tell
        self._unavailable_since_s: float | None = None
        self._has_told_unavailable = False
        self._tidying = threading.Thread(target=self._tidy, name="tidying", daemon=True)

    def open(self) -> None:
        """Open it; whoever calls repeats this while the disk refuses, and the user hears of it if it lasts.

        Raises:
            StoreError: it cannot be opened.
        """
        try:
            self._store.open()
        except StoreUnavailable as error:
            now_s = time.monotonic()
            self._unavailable_since_s = self._unavailable_since_s or now_s
            if now_s - self._unavailable_since_s >= PATIENCE_S and not self._has_told_unavailable:
                self._has_told_unavailable = True
                self._tell(notes.NotKept(error))
            raise
        for text in self._store.notices:
            self._tell(notes.OfStore(text))
        self._tidying.start()

    def finish(self) -> None:
        """Erase what was deleted and is not gone yet, unless the tidying is still at work."""
        if self._tidying.is_alive():
            self._tidying.join(TIDYING_PATIENCE_S)
        if not self._tidying.is_alive():
            with contextlib.suppress(StoreError):
                self._store.finish_deleting()

    def _tidy(self) -> None:
        """It may take seconds, and no commit waits for it."""
        try:
            self._store.tidy()
        except Exception:  # the chat may end meanwhile, which closes the store; the next one goes on
            _log.warning("the store could not be tidied", exc_info=True)
