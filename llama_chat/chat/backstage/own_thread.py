"""Work that may take long, on a thread of its own, so that it holds up neither the screen nor the store."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

NICENESS = 5


def give_way() -> None:
    """Let all other threads go before the one that calls this."""
    if sys.platform == "linux":  # elsewhere a priority belongs to the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class OwnThread:
    """A daemon thread, begun with the first job: the process can end while the disk does not answer.

    Args:
        name: of the thread.
        gives_way: whether it does its jobs when nobody else has anything to do: a key must be seen first.
    """

    def __init__(self, name: str, *, gives_way: bool = False) -> None:
        self._gives_way = gives_way
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._starting = threading.Lock()

    def do(self, function: Callable[[], T], future: Future[T] | None = None) -> Future[T]:
        """What the function returns or raises, after the jobs before it; may be called on any thread.

        Args:
            function: what is to be done.
            future: tells of it, a running one, which cannot be cancelled; None for a new one.
        """
        promised: Future[T] = Future() if future is None else future
        if future is None:  # who waits for it may be cancelled; the job is not, and says how it went
            promised.set_running_or_notify_cancel()

        def work() -> None:
            try:
                result = function()
            except Exception as error:  # told through the future; this thread goes on
                promised.set_exception(error)
            else:
                promised.set_result(result)

        self._jobs.put(work)
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()
        return promised

    def close(self, timeout_s: float) -> bool:
        """Do what is left; whether that was done in time."""
        if self._thread.ident is not None:
            self._jobs.put(None)
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._gives_way:
            give_way()
        while (job := self._jobs.get()) is not None:
            job()
            del job  # it may hold a whole screen
