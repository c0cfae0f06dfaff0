"""One sweep on the engine's thread, and what has come of it so far."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from llama_chat.chat.sweeping.source import SweepSource
from llama_chat.distribution.names import TokenNames
from llama_chat.events import Engine, ModelInfo, Sampling
from llama_chat.sweep.asking import SweepEvent, sweep_by
from llama_chat.sweep.columns import Variation
from llama_chat.sweep.gathered import SweepReplies

T = TypeVar("T")


class Compute(Protocol):
    """As `Worker.compute`."""

    def __call__(self, function: Callable[[Engine], T], cancel: threading.Event) -> Future[T]:
        """What the function makes of the engine, on its thread."""
        ...


class SweepRun:
    """A sweep from its beginning on.

    Args:
        source: what is answered.
        variation: what differs from column to column.
        others: all other settings.
        seed: of every column, unless it is what varies.
    """

    def __init__(self, source: SweepSource, variation: Variation, others: Sampling, seed: int) -> None:
        self.source = source
        self.variation = variation
        self.seed = seed
        self.columns = variation.columns(others, seed)
        self.replies = SweepReplies.of(self.columns)
        self.names = TokenNames()
        """Of the model's tokens, once it has begun."""
        self.info: ModelInfo | None = None
        self._cancel = threading.Event()
        self._came: deque[SweepEvent] = deque()

    def begin(self, compute: Compute) -> Future[None]:
        """Have it computed; the future is done when nothing more comes.

        It fails with a `LlamaChatError` where nothing could be begun.
        """
        return compute(self._run, self._cancel)

    def _run(self, engine: Engine) -> None:
        self.info, self.names = engine.info, TokenNames.of_engine(engine)
        most = max(column.sampling.max_new_tokens for column in self.columns)
        for event in sweep_by(engine, self.source.pieces(engine, most), self.columns, self._cancel):
            self._came.append(event)

    def take_in(self) -> bool:
        """Put what has come into `replies`; whether there was anything. Called by whoever shows it."""
        is_news = bool(self._came)
        while self._came:
            self.replies.feed(self._came.popleft())
        return is_news

    def stop(self) -> None:
        """Let every column end where it is."""
        self._cancel.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._cancel.is_set()
