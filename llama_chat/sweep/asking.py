"""Who can sweep, and what a sweep tells while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from llama_chat.errors import ModelError
from llama_chat.events import Event, Piece
from llama_chat.sweep.columns import SweepColumn

EVERY = -1
"""Instead of the number of a column: it is meant for all of them."""


@dataclass(frozen=True, slots=True)
class InTurns:
    """There is no memory for a cache of each column: only so many are computed at the same time."""

    at_once: int


SweepEvent: TypeAlias = tuple[int, Event | InTurns]
"""The number of the column, from 0, or `EVERY`; and what happened to it."""


@runtime_checkable
class Sweeps(Protocol):
    """An engine that computes several replies to one prompt side by side."""

    def sweep(
        self, pieces: Sequence[Piece], columns: Sequence[SweepColumn], cancel: threading.Event
    ) -> Iterator[SweepEvent]:
        """Prefill the pieces once, then a token of every column in turn, until each has ended.

        Each column is what `stream` gives with its sampling and seed. What is in the engine's own cache stays
        as it is. `Loading` and `Prefilled` are for `EVERY`; so is a `Failed` or `Finished` that ends the
        sweep before any column has begun. Every other column ends with its own `Finished` or `Failed`.
        """
        ...


def sweep_by(
    engine: object, pieces: Sequence[Piece], columns: Sequence[SweepColumn], cancel: threading.Event
) -> Iterator[SweepEvent]:
    """What the engine tells of the sweep.

    Raises:
        ModelError: it cannot sweep.
    """
    if not isinstance(engine, Sweeps):
        raise ModelError("This engine cannot compute several replies side by side.")
    return engine.sweep(pieces, columns, cancel)
