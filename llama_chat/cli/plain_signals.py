"""Ctrl+C and the signals that end a program, for a chat that reads a line or waits for a reply."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SECOND_PRESS_S = 2.0
_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruptions:
    """Remembers what was pressed; only a line that is being read is broken off at once.

    Anywhere else an exception would fall into the middle of a change.

    Args:
        wake: called after each signal, by its handler: may only do what is safe there.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._is_reading = False
        self._is_pressed = False
        self._last_press_s = -SECOND_PRESS_S
        self.is_over = False
        """Whether the chat shall end: pressed twice, or told so by the system."""
        self.is_terminated = False
        """Whether the system said so."""

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Meanwhile signals are remembered here."""
        endings = [number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, *endings)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def take(self) -> bool:
        """Whether Ctrl+C was pressed since the last call."""
        was_pressed, self._is_pressed = self._is_pressed, False
        return was_pressed

    def forget(self) -> None:
        """What was pressed has done its work: the next press is a first one."""
        self._last_press_s = -SECOND_PRESS_S

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """While a line is read: a signal, also one of just before, raises `KeyboardInterrupt`."""
        self._is_reading = True
        try:
            if self._is_pressed or self.is_over:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_reading = False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now_s = time.monotonic()
        self.is_terminated |= number != signal.SIGINT
        self.is_over |= self.is_terminated or now_s - self._last_press_s < SECOND_PRESS_S
        self._last_press_s = now_s
        self._is_pressed = True
        if self._is_reading:
            self._is_reading = False  # once: the line is broken off already
            raise KeyboardInterrupt
        self._wake()
