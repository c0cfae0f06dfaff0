"""What a forward takes, by its rows, as it is measured while replies run: nothing is assumed of a machine."""

from __future__ import annotations

from collections import deque
from statistics import median

REMEMBERED = 7
"""Forwards of the same rows whose median counts: one that another program delayed does not."""
STALE_AFTER = 512
"""Forwards after which a measurement of several rows is forgotten, so that it is tried again."""
FEWEST_STEPS = 3
"""Steps to be measured before anything is believed: the first ones warm up."""

_HOPED_ROW = 0.1
"""What a further row is hoped to take, in steps, while no forward of several rows was measured."""


class ForwardCosts:
    """Seconds of a forward by its rows."""

    def __init__(self) -> None:
        self._measured: dict[int, deque[tuple[int, float]]] = {}
        self._count = 0
        self._of: object = None
        self._points: list[tuple[int, float]] = []
        """Rows and seconds of what is known, by rows."""

    def begin(self, computed_by: object) -> None:
        """Another reply: what was measured of other code does not count."""
        if computed_by != self._of:
            self._measured.clear()
            self._points.clear()
            self._of = computed_by

    def note(self, rows: int, seconds: float) -> None:
        """A forward of so many rows took so long."""
        self._count += 1
        self._measured.setdefault(rows, deque(maxlen=REMEMBERED)).append((self._count, seconds))
        for other, known in list(self._measured.items()):
            if other > 1 and known[0][0] < self._count - STALE_AFTER:
                known.popleft()
                if not known:
                    del self._measured[other]
        enough = {1: FEWEST_STEPS}
        self._points = [
            (n, median(s for _, s in known))
            for n, known in sorted(self._measured.items())
            if len(known) >= enough.get(n, 1)
        ]

    @property
    def step_s(self) -> float | None:
        """Of a forward of one row; None while it is not known."""
        return self._points[0][1] if self._points and self._points[0][0] == 1 else None

    def known(self) -> dict[int, float]:
        """Seconds by rows, as far as they were measured."""
        return dict(self._points)

    def seconds(self, rows: int) -> float:
        """What a forward of so many rows is thought to take: on the line between its known neighbours.

        Once `step_s` is known.
        """
        step_s = self.step_s
        assert step_s is not None
        before = (1, step_s)
        slope = _HOPED_ROW * step_s
        for point in self._points[1:]:
            slope = max(0.0, (point[1] - before[1]) / (point[0] - before[0]))
            if rows <= point[0]:
                break
            before = point
        return before[1] + (rows - before[0]) * slope
