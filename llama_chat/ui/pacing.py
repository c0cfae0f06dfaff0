"""Doing something that is asked for often, only so often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Paced:
    """Does it at once when the last time is long enough ago, else when it is: the last wish is never lost.

    Not by Textual's own timer: when the thread is held up between two of its lines it never ticks, and the
    screen stood still for good (2 of 250 replies on busy cores; Textual 8.2.8, 2026-11-22).

    Args:
        action: what is to be done.
        every_s: at least so many seconds lie between two times.
    """

    def __init__(self, action: Callable[[], object], every_s: float) -> None:
        self._action = action
        self._every_s = every_s
        self._last_s = -every_s
        self._due: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Have it done, now or soon."""
        rest_s = self._last_s + self._every_s - time.monotonic()
        if rest_s <= 0:
            self.now()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(rest_s, self.now)

    def now(self) -> None:
        """Do it now; what was asked for before is done with this."""
        self.forget()
        self._last_s = time.monotonic()
        self._action()

    def forget(self) -> None:
        """What was asked for and is not done yet is not wanted any more."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
