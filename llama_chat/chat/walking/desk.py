"""Where a walk is asked: each question goes to the engine's thread, and what was asked last wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from llama_chat.alteration import Alteration, parse_alteration
from llama_chat.chat.walking.source import WalkSource, WalkText
from llama_chat.errors import Interrupted, ModelError
from llama_chat.events import Engine

if TYPE_CHECKING:
    from llama_chat.drawing.views import Walker, WalkOpener

T = TypeVar("T")


class Compute(Protocol):
    """As `Worker.compute`."""

    def __call__(self, function: Callable[[Engine], T], cancel: threading.Event) -> Future[T]:
        """What the function makes of the engine, on its thread."""
        ...


class WalkDesk:
    """One walk, from its pass on; the walk itself never leaves the engine's thread.

    Args:
        compute: of the worker.
        opener: makes the walk.
    """

    def __init__(self, compute: Compute, opener: WalkOpener) -> None:
        self._compute = compute
        self._opener = opener
        self._engine: Engine | None = None
        self._walk: Walker | None = None
        self._until: Walker | None = None
        """The walk up to the position that was asked for last."""
        self._closing = threading.Event()
        self._last: threading.Event | None = None
        self._altering: threading.Event | None = None
        self.fraction = 0.0
        """Of the pass, that is done; written on the engine's thread."""
        self.text = WalkText(())

    def open(self, source: WalkSource) -> Future[Walker]:
        """The pass. Its walk is to be asked by `ask` only; what its facts say may be read anywhere."""
        return self._compute(lambda engine: self._open(engine, source), self._closing)

    def _open(self, engine: Engine, source: WalkSource) -> Walker:
        self.text = source.text_for(engine)
        self._walk = self._until = None  # first: what an earlier one holds makes room
        walk = self._opener(engine, self.text.ids, self._closing, self._report)
        if (signature := self.text.alteration) is not None:
            walk = walk.altered(parse_alteration(signature))
        if self._closing.is_set():
            raise Interrupted("The walk was left.")  # its memory is not kept for anybody
        self._walk = self._until = walk
        self._engine = engine
        return walk

    def _report(self, fraction: float) -> None:
        self.fraction = fraction

    def ask(self, question: Callable[[Walker], T], position: int) -> Future[T]:
        """What the walk up to that position says, unless something else is asked before it is its turn.

        The future fails with `Interrupted` then, or with the error of the walk.
        """
        if self._last is not None:
            self._last.set()
        self._last = threading.Event()
        return self._asked(question, position, self._last)

    def ask_besides(self, question: Callable[[Walker], T], position: int) -> Future[T]:
        """The same; nothing that is asked later takes its place."""
        return self._asked(question, position, self._closing)

    def _asked(self, question: Callable[[Walker], T], position: int, cancel: threading.Event) -> Future[T]:
        def answer(engine: Engine) -> T:
            walk, until = self._open_walk(engine), self._until
            if until is None or len(until.facts.token_ids) != position + 1:
                until = self._until = walk.until(position)
            return question(until)

        return self._compute(answer, cancel)

    def alter(self, alteration: Alteration) -> Future[None]:
        """Whatever is asked from now on is asked of the walk with these heads and layers off or scaled.

        The future fails with `Interrupted` where another alteration was wanted before it was its turn.
        """
        if self._altering is not None:
            self._altering.set()
        self._altering = threading.Event()

        def alter(engine: Engine) -> None:
            walk = self._open_walk(engine)
            self._walk, self._until = walk.altered(alteration), None

        return self._compute(alter, self._altering)

    def _open_walk(self, engine: Engine) -> Walker:
        walk, its_engine = self._walk, self._engine  # read once: `close` comes from another thread
        if self._closing.is_set():
            raise Interrupted("The walk was left.")
        if walk is None or engine is not its_engine:
            raise ModelError("Another model runs now.", hint="Leave the walk, and begin another one.")
        return walk

    def close(self) -> None:
        """Give up what runs or waits, and let the walk's memory go."""
        self._closing.set()
        if self._last is not None:
            self._last.set()
        self._walk = self._until = self._engine = None
