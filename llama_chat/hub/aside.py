"""Work that may hang in a network call, on a thread of its own, so that whoever waits can leave at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from llama_chat.errors import Interrupted
from llama_chat.pull_progress import PullProgress, Report

POLL_S = 0.1
KEPT = "The download was stopped; the next one goes on from there."

T = TypeVar("T")
Work: TypeAlias = Callable[[Report, threading.Event], T]
"""Does it: gets a callback for progress, and a flag that is set when nobody waits any more."""


def do_aside(work: Work[T], report: Report, cancel: threading.Event) -> T:
    """What the work returns or raises; `report` is called on this thread.

    Raises:
        Interrupted: `cancel` was set; the work ends by itself, at the latest with its network call.
    """
    progress: queue.SimpleQueue[PullProgress | None] = queue.SimpleQueue()
    stop = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(progress.put, stop))
        except BaseException as error:  # raised again below, on the thread that waits
            errors.append(error)
        finally:
            progress.put(None)

    # A daemon: the process can end while a server keeps it waiting.
    threading.Thread(target=run, name="llama-chat hub", daemon=True).start()
    try:
        _pass_on(progress, report, cancel)
    finally:
        stop.set()
    if errors:
        raise errors[0]
    return results[0]


def _pass_on(
    progress: queue.SimpleQueue[PullProgress | None], report: Report, cancel: threading.Event
) -> None:
    while not cancel.is_set():
        try:
            told = progress.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if told is None:
            return
        report(told)
    raise Interrupted(KEPT)
