"""One connection for each thread that asks, and none closed while a thread is using it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PAUSE_S = 0.01


@dataclass(slots=True)
class _Kept:
    connection: sqlite3.Connection
    calls: int = 0
    """How many calls of its thread, one within the other, are using it."""
    is_doomed: bool = False
    """Whether the last of them closes it."""


class Connections:
    """Connections by thread, between `open` and `close`.

    To close a connection while its thread is in the middle of a statement ends the process (SIGSEGV in
    sqlite3, 2026-11); so each is closed by whoever uses it last.

    Args:
        connect: makes a connection that any thread may close.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._mine = threading.local()
        self._kept: list[_Kept] = []
        self._is_open = False

    def open(self) -> None:
        """Let connections be made from now on."""
        with self._changed:
            self._is_open = True

    @contextlib.contextmanager
    def use(self) -> Iterator[sqlite3.Connection | None]:
        """This thread's connection, which stays open until the end of the block; None: all are closed."""
        if (kept := self._take()) is None:
            yield None
            return
        try:
            yield kept.connection
        finally:
            self._give_back(kept)

    def close(self, patience_s: float) -> None:
        """Give no more out, interrupt what runs and close what nobody uses; safe to call twice.

        A call that has not ended when the patience has goes on, and closes its connection at its end.
        """
        with self._changed:
            self._is_open = False
            self._mine = threading.local()
            left, self._kept = self._kept, []
            for kept in left:
                kept.is_doomed = True
                if not kept.calls:
                    kept.connection.close()
            deadline = time.monotonic() + patience_s
            while (running := [k for k in left if k.calls]) and time.monotonic() < deadline:
                for kept in running:  # again and again: a call may be between two statements
                    kept.connection.interrupt()
                self._changed.wait(_PAUSE_S)

    def _take(self) -> _Kept | None:
        with self._changed:
            if not self._is_open:
                return None
            kept: _Kept | None = getattr(self._mine, "kept", None)
            if kept is None:
                self._mine.kept = kept = _Kept(self._connect())
                self._kept.append(kept)
            kept.calls += 1
            return kept

    def _give_back(self, kept: _Kept) -> None:
        with self._changed:
            kept.calls -= 1
            if kept.is_doomed and not kept.calls:
                with contextlib.suppress(sqlite3.Error):
                    kept.connection.close()
                self._changed.notify_all()
