"""The one thread that owns the engine: it fetches and loads the model, answers turns, and is told to stop.

A persistent daemon thread, because torch keeps state per thread and because the process must be able to
end while it is at work. Whoever listens is called on this thread, with plain data.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from llama_chat.computing import Computations, as_error, forget_locals
from llama_chat.errors import Interrupted, LlamaChatError, ModelError
from llama_chat.events import (
    Engine,
    EngineLoader,
    Event,
    Failed,
    Finished,
    LiveSampling,
    Loading,
    Prefilled,
)
from llama_chat.giving_way import Gate, GivesWay
from llama_chat.listener import Listener, Turn
from llama_chat.steering import Steering

if TYPE_CHECKING:
    from llama_chat.pull import PullProgress
    from llama_chat.shelves.to_load import ModelToLoad
    from llama_chat.turn import Prompt

__all__ = ["Listener", "Turn", "Worker"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

SWITCH_S = 0.001
"""How long a thread may keep the interpreter while another waits for it; Python's own 5 ms are felt."""
ENGINE_NICENESS = 5


class Worker:
    """Does one thing after the other on its own thread.

    Args:
        loader: makes the engine, on the worker's thread.
        listener: is told what happens, on the worker's thread.
        sampling: the live handle that every token is drawn with.
        steering: by which a reply is held; it is reset when one is over.
        pull: fetches the model's file before the first loading, when it is not at hand.
    """

    def __init__(
        self,
        loader: EngineLoader,
        listener: Listener,
        sampling: LiveSampling,
        *,
        steering: Steering | None = None,
        pull: Callable[[Callable[[PullProgress], None], threading.Event], object] | None = None,
    ) -> None:
        self._loader = loader
        self._listener = listener
        self._sampling = sampling
        self._steering = steering or Steering()
        self._pull = pull
        self.gate = Gate()
        """Closed while a key is echoed: the engine rests meanwhile."""
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: list[Turn] = []
        self._computations = Computations()
        self._current: Turn | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._cancel_loading = threading.Event()
        self._is_loading_first = True
        self._engine: Engine | None = None
        self._load_error: LlamaChatError = ModelError("No model is loaded.")
        self._thread = threading.Thread(target=self._run, name="llama-chat engine", daemon=True)

    # --- called from any thread -------------------------------------------------------------------

    def start(self, *, is_loading: bool = True) -> None:
        """Begin, with fetching and loading the model; turns that were wanted before this wait for it.

        Args:
            is_loading: off while it is not decided yet which model it shall be; `load` says it.
        """
        self._is_loading_first = is_loading
        self._thread.start()

    def load(self, model: ModelToLoad | None = None) -> None:
        """Load the model, unless there is one by the time that this is reached.

        Args:
            model: instead of the one that was wanted before.
        """
        self._cancel_loading.clear()
        self._jobs.put(self._load if model is None else partial(self._load_instead, model))

    def switch(self, model: ModelToLoad) -> None:
        """Run another model from now on; a reply that runs is stopped, a loading is given up.

        The model that runs stays until the headers of the other one are read, and is closed before the
        other one's weights are loaded. If those do not come, it is loaded again.
        """
        self.stop()
        cancel = threading.Event()
        with self._lock:
            self._cancel_loading.set()
            self._cancel_loading = cancel
        self._jobs.put(lambda: self._switch(model, cancel))

    def stop_loading(self) -> None:
        """Give up fetching or loading the model."""
        self._cancel_loading.set()

    def answer(self, turn: Turn) -> None:
        """Answer the turn as soon as what came before is done."""
        with self._lock:
            self._waiting.append(turn)
        self._jobs.put(lambda: self._answer(turn))

    def stop(self) -> None:
        """End every reply that runs or waits; what was written so far is kept."""
        with self._lock:
            for turn in (self._current, *self._waiting):
                if turn is not None:
                    turn.cancel.set()
        self._steering.look()

    def withdraw(self, turn: Turn) -> bool:
        """Whether the turn was still waiting: then it will never begin, and nothing more is told of it."""
        with self._lock:
            is_waiting = turn in self._waiting
            if is_waiting:
                self._waiting.remove(turn)
        return is_waiting

    def ask(self, function: Callable[[Engine], T]) -> T | None:
        """What the function says of the loaded engine, called on the caller's thread; None without one.

        Only `info`, `count_tokens`, `encode` and `pieces` may be asked for so: they touch no tensor, and a
        tokenizer may be used by several threads.
        """
        engine = self._engine
        return function(engine) if engine is not None else None

    def compute(self, function: Callable[[Engine], T], cancel: threading.Event) -> Future[T]:
        """What the function makes of the engine, on the worker's thread, after all that was asked before.

        The future fails with a `LlamaChatError`: what the function raised, that no model is loaded, or
        `Interrupted` where the flag was set before it began.

        Args:
            function: gives way between its parts to who sets the flag; a reply waits for it.
            cancel: its flag, which `close` sets, too.
        """
        computation = self._computations.add(function, cancel)
        self._jobs.put(lambda: self._computations.run(computation, self._engine, self._load_error))
        return computation.future

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop and end the thread; whether it ended in time (it is a daemon: the process can go anyway)."""
        self._closing.set()
        self.stop_loading()
        self.stop()
        self._computations.close()
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
        _let_others_go_first()
        job: Callable[[], None] | None = self._load if self._is_loading_first else self._jobs.get()
        while job is not None:
            self._do(job)
            job = self._jobs.get()
        self._unload()

    def _do(self, job: Callable[[], None]) -> None:
        if not self._closing.is_set():
            try:
                job()
            except Exception:  # without this thread the chat would wait for ever
                _log.exception("whoever listens failed")

    def _unload(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.close()

    def _take(self, engine: Engine) -> Engine:
        self._engine = engine
        if isinstance(engine, GivesWay):
            engine.give_way_at(self.gate)
        return engine

    def _load_instead(self, model: ModelToLoad) -> None:
        if self._engine is None:
            self._loader, self._pull = model.loader, model.pull
        self._load()

    def _load(self) -> None:
        if self._engine is not None:
            return
        cancel = self._cancel_loading
        try:
            if self._pull is not None:
                self._pull(self._listener.pulling, cancel)
                self._pull = None
            engine = self._take(self._loader(self._listener.loading, cancel))
            self._listener.loaded(engine.info)
        except Exception as error:  # whatever a broken file or torch raises: the chat must say it and live on
            forget_locals(error)
            self._load_error = as_error(error, "The model could not be loaded")
            self._unload()
            self._listener.not_loaded(self._load_error)

    def _switch(self, model: ModelToLoad, cancel: threading.Event) -> None:
        try:
            if model.pull is not None:
                model.pull(self._listener.pulling, cancel)
            self._listener.loading(Loading(0.0, "header"))
            model.check()
            if cancel.is_set():
                raise Interrupted("Loading was stopped.")
            self._unload()
            engine = self._take(model.loader(self._listener.loading, cancel))
            self._loader, self._pull = model.loader, None
            self._listener.loaded(engine.info)
        except Exception as error:  # as above; the model that ran before runs again
            forget_locals(error)
            with self._lock:
                if cancel is not self._cancel_loading:
                    return  # a third one was wanted meanwhile, and is next
                self._cancel_loading = threading.Event()
            self._go_back(as_error(error, "The model could not be loaded"))

    def _go_back(self, error: LlamaChatError) -> None:
        info = self._engine.info if self._engine is not None else None
        self._listener.not_switched(error, info)
        if info is None and not self._closing.is_set():
            self._load()

    def _answer(self, turn: Turn) -> None:
        with self._lock:
            if turn not in self._waiting:
                return
            self._waiting.remove(turn)
            self._current = turn
        with ExitStack() as afterwards:
            try:
                engine, prompt = self._prepare(turn)
                afterwards.enter_context(turn.as_begun(engine))
                self._listener.prepared(turn, prompt)
            except Exception as error:
                self._listener.refused(turn, as_error(error, "The prompt could not be prepared"))
            else:
                self._stream(engine, turn, prompt)
            finally:
                with self._lock:
                    self._current = None

    def _prepare(self, turn: Turn) -> tuple[Engine, Prompt]:
        if turn.cancel.is_set():
            raise Interrupted("Stopped before the reply began.")
        if self._engine is None:
            raise self._load_error
        # brings jinja2: 30 ms that the first paint need not wait for
        from llama_chat.turn import ANEW, build_prompt, check_continuing, check_given

        assert turn.reply.reply is not None
        prompt = build_prompt(
            self._engine,
            turn.path,
            date=turn.date,
            max_new_tokens=self._sampling.current.max_new_tokens,
            context_start=turn.reply.reply.context_start if turn.is_continued else ANEW,
        )
        if turn.is_continued:
            model = turn.written_by() if turn.written_by is not None else None
            check_continuing(self._engine.info, turn.reply.reply, prompt, turn.forced_ids, model)
        if turn.given:
            check_given(self._engine, prompt, turn.given, len(turn.forced_ids))
        return self._engine, prompt

    def _stream(self, engine: Engine, turn: Turn, prompt: Prompt) -> None:
        event: Event | None = None
        steering = self._steering if turn.is_held else Steering()
        try:
            for event in engine.stream(
                prompt.pieces,
                sampling=self._sampling,
                seed=turn.seed,
                forced_ids=turn.forced_ids,
                plan=turn.plan,
                given=turn.given,
                steering=steering,
                cancel=turn.cancel,
            ):
                if isinstance(event, Prefilled) and turn.is_continued:
                    _check_prompt(turn, event)
                if isinstance(event, Finished | Failed):
                    steering.reset()  # before anybody hears of it, and holds the next one
                self._listener.event(turn, event)
            if not isinstance(event, Finished | Failed):
                raise ModelError("The engine ended without saying how.")
        except Exception as error:
            steering.reset()
            self._listener.event(turn, Failed(as_error(error, "The reply broke off")))


def _check_prompt(turn: Turn, event: Prefilled) -> None:
    """Raises `PromptError` if what the reply goes on behind is not what it was begun behind."""
    from llama_chat.turn import check_same_prompt

    assert turn.reply.reply is not None
    check_same_prompt(turn.reply.reply, event)


def _let_others_go_first() -> None:
    """Make this thread, and those that torch starts from it, give way to the one that draws the screen.

    With every core at work on a reply, a key was echoed after 19 ms (median; 64 ms at the 99th percentile);
    with both measures after 10 ms (32 to 34 ms; bench_chat.py, 2 busy cores, 2026-11-22).
    """
    sys.setswitchinterval(SWITCH_S)
    if sys.platform == "linux":  # elsewhere a priority belongs to the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ENGINE_NICENESS)
