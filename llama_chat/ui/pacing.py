"""Doing something that is asked for often, only so often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

FIGURES_S = 0.5
"""Figures change no more often than they can be read: to draw the line of them takes 1.6 ms (2026-11)."""
FIGURES_PATIENCE_S = 0.2
"""And wait so long for words that are painted with them: a frame of their own costs as much as a word's."""


class Paced:
    """Does it at once when the last time is long enough ago, else when it is: the last wish is never lost.

    Not by Textual's own timer: when the thread is held up between two of its lines it never ticks, and the
    screen stood still for good (2 of 250 replies on busy cores; Textual 8.2.8, 2026-11-22).

    Args:
        action: what is to be done.
        every_s: at least so many seconds lie between two times.
        patience_s: a wish that must wait is done with the next one, which comes with something else to paint;
            if none comes, so much later than it could be.
    """

    def __init__(self, action: Callable[[], object], every_s: float, patience_s: float = 0.0) -> None:
        self._action = action
        self._every_s = every_s
        self._patience_s = patience_s
        self._last_s = -every_s
        self._due: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Have it done, now or soon."""
        rest_s = self._last_s + self._every_s - time.monotonic()
        if rest_s <= 0:
            self.now()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(rest_s + self._patience_s, self.now)

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


class FrameBudget:
    """How far frames must lie apart to take no more than a share of the thread's time.

    Args:
        share: of the time that the thread may be busy.
        shortest_s: they lie no closer than this.
        longest_s: and no further apart than this, whatever they cost.
        clock: seconds of processor time that the thread has used.
    """

    def __init__(
        self,
        share: float,
        shortest_s: float,
        longest_s: float,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share = share
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._clock = clock
        self._used_s: float | None = None
        self._cost_s = share * longest_s

    def frame(self) -> None:
        """A frame begins: what the thread did since the last one is what that cost."""
        used_s = self._clock()
        if self._used_s is not None:
            self._cost_s += (used_s - self._used_s - self._cost_s) / 4
        self._used_s = used_s

    def rest(self) -> None:
        """What the thread does until the next frame belongs to none."""
        self._used_s = None

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return min(max(self._cost_s / self._share, self._shortest_s), self._longest_s)
