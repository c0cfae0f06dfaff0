"""The one thread that owns the engine: it fetches and loads the model, answers turns, and is told to stop.

A persistent daemon thread, because torch keeps state per thread and because the process must be able to
end while it is at work. Whoever listens is called on this thread, with plain data.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from llama_chat.conversation import Message
from llama_chat.errors import Interrupted, LlamaChatError, ModelError
from llama_chat.events import Engine, EngineLoader, Event, Failed, Finished, LiveSampling, Loading, ModelInfo

if TYPE_CHECKING:
    from llama_chat.pull import PullProgress
    from llama_chat.turn import Prompt

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply that is wanted."""

    reply: Message
    """The assistant's message to fill, empty so far; its `reply` holds the seed."""
    path: tuple[Message, ...]
    """What is answered: from the root to the user's message."""
    date: str
    """The ISO date that the template may ask for, fixed per session."""
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def seed(self) -> int:
        """What the tokens are drawn with."""
        assert self.reply.reply is not None
        return self.reply.reply.seed


class Listener(Protocol):
    """Whoever wants to know; every method is called on the worker's thread."""

    def pulling(self, progress: PullProgress) -> None:
        """The model's file is being fetched."""

    def loading(self, progress: Loading) -> None:
        """The model is on its way into memory."""

    def loaded(self, info: ModelInfo) -> None:
        """The model can answer."""

    def not_loaded(self, error: LlamaChatError) -> None:
        """There is no model; `Interrupted` when the user did not want to wait."""

    def prepared(self, turn: Turn, prompt: Prompt) -> None:
        """The turn fits the model; its events follow, up to one `Finished` or `Failed`."""

    def refused(self, turn: Turn, error: LlamaChatError) -> None:
        """The turn cannot be answered; no event follows."""

    def event(self, turn: Turn, event: Event) -> None:
        """Something came out of the engine."""


class Worker:
    """Does one thing after the other on its own thread.

    Args:
        loader: makes the engine, on the worker's thread.
        listener: is told what happens, on the worker's thread.
        sampling: the live handle that every token is drawn with.
        pull: fetches the model's file before the first loading, when it is not at hand.
    """

    def __init__(
        self,
        loader: EngineLoader,
        listener: Listener,
        sampling: LiveSampling,
        *,
        pull: Callable[[Callable[[PullProgress], None], threading.Event], object] | None = None,
    ) -> None:
        self._loader = loader
        self._listener = listener
        self._sampling = sampling
        self._pull = pull
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._turns: list[Turn] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._cancel_loading = threading.Event()
        self._engine: Engine | None = None
        self._load_error: LlamaChatError = ModelError("No model is loaded.")
        self._thread = threading.Thread(target=self._run, name="llama-chat engine", daemon=True)

    # --- called from any thread -------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with fetching and loading the model."""
        self.load()
        self._thread.start()

    def load(self) -> None:
        """Load the model, unless there is one by the time that this is reached."""
        self._cancel_loading.clear()
        self._jobs.put(self._load)

    def stop_loading(self) -> None:
        """Give up fetching or loading the model."""
        self._cancel_loading.set()

    def answer(self, turn: Turn) -> None:
        """Answer the turn as soon as what came before is done."""
        with self._lock:
            self._turns.append(turn)
        self._jobs.put(lambda: self._answer(turn))

    def stop(self) -> None:
        """End every reply that runs or waits; what was written so far is kept."""
        with self._lock:
            for turn in self._turns:
                turn.cancel.set()

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop and end the thread; whether it ended in time (it is a daemon: the process can go anyway)."""
        self._closing.set()
        self.stop_loading()
        self.stop()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    # --- on the worker's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._closing.is_set():
                job()
        if self._engine is not None:
            self._engine.close()

    def _load(self) -> None:
        if self._engine is not None:
            return
        try:
            if self._pull is not None:
                self._pull(self._listener.pulling, self._cancel_loading)
                self._pull = None
            self._engine = self._loader(self._listener.loading, self._cancel_loading)
        except Exception as error:  # whatever a broken file or torch raises: the chat must say it and live on
            self._load_error = _as_error(error, "The model could not be loaded")
            self._listener.not_loaded(self._load_error)
        else:
            self._listener.loaded(self._engine.info)

    def _answer(self, turn: Turn) -> None:
        try:
            engine, prompt = self._prepare(turn)
        except Exception as error:
            self._listener.refused(turn, _as_error(error, "The prompt could not be prepared"))
        else:
            self._listener.prepared(turn, prompt)
            self._stream(engine, turn, prompt)
        finally:
            with self._lock:
                self._turns.remove(turn)

    def _prepare(self, turn: Turn) -> tuple[Engine, Prompt]:
        if turn.cancel.is_set():
            raise Interrupted("Stopped before the reply began.")
        if self._engine is None:
            raise self._load_error
        from llama_chat.turn import (
            build_prompt,
        )  # brings jinja2: 30 ms that the first paint need not wait for

        max_new_tokens = self._sampling.current.max_new_tokens
        prompt = build_prompt(self._engine, turn.path, date=turn.date, max_new_tokens=max_new_tokens)
        return self._engine, prompt

    def _stream(self, engine: Engine, turn: Turn, prompt: Prompt) -> None:
        event: Event | None = None
        try:
            for event in engine.stream(
                prompt.pieces, sampling=self._sampling, seed=turn.seed, cancel=turn.cancel
            ):
                self._listener.event(turn, event)
            if not isinstance(event, Finished | Failed):
                raise ModelError("The engine ended without saying how.")
        except Exception as error:
            self._listener.event(turn, Failed(_as_error(error, "The reply broke off")))


def _as_error(error: Exception, what: str) -> LlamaChatError:
    if isinstance(error, LlamaChatError):
        return error
    _log.error(what, exc_info=error)
    wrapped = ModelError(f"{what}: {type(error).__name__}: {error}", hint="The log has the details.")
    wrapped.__cause__ = error
    return wrapped
