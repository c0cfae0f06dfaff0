"""What a forward of several rows takes, in steps: as it was measured once, until a machine proves otherwise.

Whether to draft follows from these prices, and several rows round otherwise than one. Prices out of every
measurement would make a reply depend on how busy the machine is: the same seed would tell another story in a
near tie. So a measurement counts only where many of them are far from what is expected.
"""

from __future__ import annotations

from collections import deque
from statistics import median

EXPECTED_STEPS = (1.0, 1.35, 1.55, 1.75, 2.2, 2.6, 2.85, 3.1)
"""Of a forward of 1, 2, ... rows: compiled layers, Q4_1, 2 cores (`tests/bench_draft.py`, 2026-11-23)."""
TOLERATED = 1.5
"""A machine is believed to be as expected while it is within this factor."""
REMEMBERED_STEPS, REMEMBERED_RATIOS = 7, 15
"""Measurements whose median counts: a forward that another program delayed does not."""
FEWEST_STEPS, FEWEST_RATIOS = 3, 5
"""Measurements before anything is believed: the first ones warm up, and chance must not decide."""
RETRIED_AFTER, SELDOM_RETRIED_AFTER = 32, 512
"""Steps after which a machine that is not as expected is tried again; each time in vain it is twice as many.

Soon at first: where another program came in between two measurements, the machine only seemed so.
"""


class ForwardCosts:
    """Prices by rows; they live as long as an engine: no reply learns them anew."""

    def __init__(self) -> None:
        self._steps_s: deque[float] = deque(maxlen=REMEMBERED_STEPS)
        self._ratios: deque[float] = deque(maxlen=REMEMBERED_RATIOS)
        """What forwards of several rows took, in what was expected of them."""
        self._count = self._measured_at = 0
        self._of: object = None
        self._step_s: float | None = None
        self._factor = self._factor_of_reply = 1.0
        self._retried_after = RETRIED_AFTER

    def begin(self, computed_by: object) -> None:
        """Another reply: what was measured of other code does not count."""
        if computed_by != self._of:
            self._steps_s.clear()
            self._of, self._step_s = computed_by, None
            self._forget()
        self._factor_of_reply = self._factor

    def note(self, rows: int, seconds: float) -> None:
        """A forward of so many rows took so long."""
        self._count += 1
        if rows == 1:
            self._steps_s.append(seconds)
            middle = sorted(self._steps_s)[len(self._steps_s) // 2]
            self._step_s = middle if len(self._steps_s) >= FEWEST_STEPS else None
            if self._factor != 1.0 and self._count > self._measured_at + self._retried_after:
                self._retried_after = min(2 * self._retried_after, SELDOM_RETRIED_AFTER)
                self._forget()
        elif self._step_s is not None and rows <= len(EXPECTED_STEPS):
            # In steps of the moment: machines drift by a factor of two within minutes.
            self._ratios.append(seconds / self._step_s / EXPECTED_STEPS[rows - 1])
            self._measured_at = self._count
            if len(self._ratios) >= FEWEST_RATIOS:
                found = median(self._ratios)
                self._factor = 1.0 if 1 / TOLERATED <= found <= TOLERATED else found
                if self._factor == 1.0:
                    self._retried_after = RETRIED_AFTER

    def _forget(self) -> None:
        self._ratios.clear()
        self._factor, self._measured_at = 1.0, self._count

    @property
    def step_s(self) -> float | None:
        """Of a forward of one row; None while it is not known."""
        return self._step_s

    def in_steps(self, rows: int) -> float:
        """What a forward of so many rows takes, in steps; stays the same from one `begin` to the next.

        So the first reply of a program, as `run` has one, never depends on what was measured.
        """
        return max(1.0, self._factor_of_reply * EXPECTED_STEPS[rows - 1])
