"""The network rests for a moment, between two of its layers, while a key is echoed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

LONGEST_S = 0.01
"""No rest is longer than this, whether the screen was drawn meanwhile or not."""


@runtime_checkable
class GivesWay(Protocol):
    """An engine, or a network, that can rest between two layers."""

    def give_way_at(self, gate: Callable[[], None]) -> None:
        """Call the gate before every layer from now on; it may wait for a moment."""
        ...


class Gate:
    """Closed by whoever needs the processor at once, passed by the engine's thread.

    A forward lets go of Python's interpreter and takes it again hundreds of times, and its threads hold every
    core: what the screen does in 4 ms by itself takes it 8 to 20 ms beside one (2 cores, 2026-11-22).

    Args:
        longest_s: it opens by itself after so long.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._closed_until_s = 0.0
        self._opened = threading.Event()

    def close(self) -> None:
        """Let the engine rest before its next layer, until `open`."""
        self._opened.clear()
        self._closed_until_s = time.monotonic() + self._longest_s

    def open(self) -> None:
        """Let it go on."""
        self._closed_until_s = 0.0
        self._opened.set()

    def __call__(self) -> None:
        """Pass it; called on the engine's thread, for each layer."""
        closed_until_s = self._closed_until_s
        if closed_until_s and (rest_s := closed_until_s - time.monotonic()) > 0:
            self._opened.wait(rest_s)
