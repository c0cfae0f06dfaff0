"""How far a fetch is, in bytes of one total and in words, and how long it will take at the speed of late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from llama_chat.units import bytes_of_total, bytes_text

MEASURED_S = 2.0
"""No time is foretold before there is so much to go by: the first chunks come in bursts."""
HALF_LIFE_S = 4.0
"""What came so long ago counts half: steady enough to be read, quick enough to see a network slow down."""
REPORT_S = 0.1


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a fetch is. The bytes are those of the download; what follows it is said in words alone."""

    done_bytes: int
    total_bytes: int
    """0 while it is not known."""
    elapsed_s: float
    """Since the first bytes were on their way."""
    what: str
    recent_bytes_per_s: float | None = None
    """The speed of late; without it, the mean stands for it."""
    keeps_part: bool = False
    """Whether a stop keeps what is here, for the next fetch to go on from."""

    @property
    def fraction(self) -> float:
        """From 0 to 1; 0 while the total is not known."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are here."""
        return 0 < self.total_bytes <= self.done_bytes

    @property
    def bytes_per_s(self) -> float:
        """The speed of late; 0 before anything has come."""
        if self.recent_bytes_per_s is not None:
            return self.recent_bytes_per_s
        return self.done_bytes / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until all bytes are here; None while that cannot be told, and when they are."""
        speed = self.bytes_per_s
        if self.elapsed_s < MEASURED_S or speed <= 0 or not self.total_bytes or self.is_complete:
            return None
        return (self.total_bytes - self.done_bytes) / speed

    @property
    def figures(self) -> str:
        """Bytes, share, speed and time left in a line whose parts keep their places."""
        line = f"{bytes_of_total(self.done_bytes, self.total_bytes)}  {100 * self.fraction:3.0f} %"
        if self.bytes_per_s and not self.is_complete:
            line += f"  {bytes_text(self.bytes_per_s):>9}/s"
        if (left_s := self.left_s) is not None:
            line += f"  {int(left_s) // 60}:{int(left_s) % 60:02d} left"
        return line


Report: TypeAlias = Callable[[PullProgress], None]


class SpeedMeter:
    """Bytes a second, the later ones counting more; a mean at first, so it has no jump to recover from."""

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0

    @property
    def bytes_per_s(self) -> float:
        """0 before anything was measured."""
        return self._bytes / self._seconds if self._seconds > 0 else 0.0

    def feed(self, new_bytes: int, seconds: float) -> None:
        """So many bytes came in so many seconds."""
        fading = 0.5 ** (seconds / HALF_LIFE_S)
        self._bytes = self._bytes * fading + new_bytes
        self._seconds = self._seconds * fading + seconds


class Download:
    """Turns byte counts into reports: the first, the last, and at most ten a second between.

    Args:
        what: in words, what is done.
        total_bytes: as far as it is known before; 0 if it is not.
        report: hears it.
        clock: seconds.
        keeps_part: whether a stop keeps what is here.
    """

    def __init__(
        self,
        what: str,
        total_bytes: int,
        report: Report,
        clock: Callable[[], float] = time.monotonic,
        *,
        keeps_part: bool = False,
    ) -> None:
        self._what, self._report, self._clock, self._keeps_part = what, report, clock, keeps_part
        self._meter = SpeedMeter()
        self._done_bytes, self._total_bytes = 0, total_bytes
        self._began_s: float | None = None
        self._counted_s = self._reported_s = 0.0
        self._tell()

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """So much is here. The clock runs from the first call: before it, a server was looked for."""
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = self._counted_s = now_s
        elif now_s > self._counted_s:
            self._meter.feed(max(0, done_bytes - self._done_bytes), now_s - self._counted_s)
            self._counted_s = now_s
        self._done_bytes = done_bytes
        self._total_bytes = total_bytes or self._total_bytes  # a server need not say how much will come
        if done_bytes >= self._total_bytes or now_s - self._reported_s >= REPORT_S:
            self._reported_s = now_s
            self._tell()

    def end(self, total_bytes: int, then: str) -> None:
        """All of it is here, whether that was counted or not; what follows, in words."""
        self._done_bytes = self._total_bytes = total_bytes
        self._what = then
        self._tell()

    def _tell(self) -> None:
        elapsed_s = 0.0 if self._began_s is None else self._counted_s - self._began_s
        self._report(
            PullProgress(
                self._done_bytes,
                self._total_bytes,
                elapsed_s,
                self._what,
                self._meter.bytes_per_s,
                keeps_part=self._keeps_part,
            )
        )
