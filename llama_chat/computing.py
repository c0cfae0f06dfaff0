"""What the engine is asked for beside replies: a walk, a score, a sweep; done between two replies."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from llama_chat.errors import Interrupted, LlamaChatError, ModelError
from llama_chat.events import Engine

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Computation(Generic[T]):
    """Something to be made of the engine."""

    function: Callable[[Engine], T]
    cancel: threading.Event
    future: Future[T] = field(default_factory=Future)


class Computations:
    """Those that wait or run; each ends with a result or a `LlamaChatError`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Computation[Any]] = []
        self._running: threading.Event | None = None
        """The flag of the one that was begun last."""
        self._is_closed = False

    def add(self, function: Callable[[Engine], T], cancel: threading.Event) -> Computation[T]:
        """One more, which `run` does when its turn comes; called from any thread."""
        computation = Computation(function, cancel)
        computation.future.set_running_or_notify_cancel()  # `cancel` ends it, and nothing else can
        with self._lock:
            is_too_late = self._is_closed
            if not is_too_late:
                self._open.append(computation)
        if is_too_late:
            computation.future.set_exception(_not_begun())
        return computation

    def run(self, computation: Computation[Any], engine: Engine | None, why_none: LlamaChatError) -> None:
        """Do it, on the thread that owns the engine.

        Args:
            computation: out of `add`.
            engine: the loaded one.
            why_none: what is said where there is none.
        """
        with self._lock:
            if computation not in self._open:
                return
            self._open.remove(computation)
            self._running = computation.cancel
        try:
            if computation.cancel.is_set():
                raise _not_begun()
            if engine is None:
                raise why_none
            result = computation.function(engine)
        except Exception as error:  # whatever torch raises: who asked is told, and the thread goes on
            forget_locals(error)
            computation.future.set_exception(as_error(error, "It could not be computed"))
        else:
            computation.future.set_result(result)

    def close(self) -> None:
        """Take no more: those that wait fail now, the one that runs when it sees its flag."""
        with self._lock:
            self._is_closed = True
            waiting, self._open = self._open, []
            running = self._running
        if running is not None:
            running.set()
        for computation in waiting:
            computation.future.set_exception(_not_begun())


def forget_locals(error: BaseException | None) -> None:
    """Let go of what the functions that failed were at work on: half a model."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def as_error(error: Exception, what: str) -> LlamaChatError:
    """The error as one of ours; one that is not is logged, and told with `what` before it."""
    if isinstance(error, LlamaChatError):
        return error
    _log.error(what, exc_info=error)
    wrapped = ModelError(f"{what}: {type(error).__name__}: {error}", hint="The log has the details.")
    wrapped.__cause__ = error
    return wrapped


def _not_begun() -> LlamaChatError:
    return Interrupted("Stopped before it began.")
