"""Where a replay stands and how it goes on: time comes in from outside, so nothing here waits."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from llama_chat.replay.state import ReplayState
from llama_chat.replay.timeline import Timeline

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""What the keys step through."""


class Player:
    """Plays a timeline; every place can be gone to, and looks the same from wherever one comes.

    Args:
        timeline: what is played; at least one moment.
        speed: 2 is twice the original pace.
    """

    def __init__(self, timeline: Timeline, *, speed: float = 1.0) -> None:
        assert len(timeline)
        self.timeline = timeline
        self.speed = speed
        self.is_playing = False
        self._now_s: float | None = None
        self._position_s = 0.0
        self._count = 0
        self.seek_s(0.0)

    @property
    def position_s(self) -> float:
        """On the clock of the timeline."""
        return self._position_s

    @property
    def count(self) -> int:
        """How many moments have happened."""
        return self._count

    @property
    def fraction(self) -> float:
        """How much of the time is over, 0 to 1."""
        total_s = self.timeline.total_s
        return self._position_s / total_s if total_s else 1.0

    @property
    def is_at_end(self) -> bool:
        """Whether everything has happened."""
        return self._count == len(self.timeline)

    @property
    def state(self) -> ReplayState:
        """What there is to see now."""
        return self.timeline.state_at(self._count)

    # --- time -------------------------------------------------------------------------------------

    def advance(self, now_s: float) -> bool:
        """Go on by the time since the last call, if it plays; whether anything happened."""
        before_s, self._now_s = self._now_s, now_s
        if not self.is_playing or before_s is None:
            return False
        self._position_s = min(
            self._position_s + max(0.0, now_s - before_s) * self.speed, self.timeline.total_s
        )
        count = max(self._count, self.timeline.count_at(self._position_s))
        has_happened = count != self._count
        self._count = count
        self.is_playing = not self.is_at_end
        return has_happened

    def next_wait_s(self) -> float:
        """Seconds on the watcher's clock until something happens; 0 at the end."""
        if self.is_at_end:
            return 0.0
        return max(0.0, self.timeline.time_of(self._count + 1) - self._position_s) / self.speed

    def play(self) -> None:
        """Go on; from the beginning, when it was at the end."""
        if self.is_at_end:
            self.seek_s(0.0)
        self.is_playing = not self.is_at_end
        self._now_s = None

    def pause(self) -> None:
        """Stand still."""
        self.is_playing = False

    def toggle(self) -> None:
        """Pause, or go on."""
        if self.is_playing:
            self.pause()
        else:
            self.play()

    def change_speed(self, steps: int) -> None:
        """The next speed up or down; at the ends it stays."""
        if steps > 0:
            self.speed = SPEEDS[min(bisect_right(SPEEDS, self.speed), len(SPEEDS) - 1)]
        else:
            self.speed = SPEEDS[max(bisect_left(SPEEDS, self.speed) - 1, 0)]

    # --- going somewhere --------------------------------------------------------------------------

    def seek_s(self, at_s: float) -> None:
        """Go to a time."""
        self._position_s = min(max(at_s, 0.0), self.timeline.total_s)
        self._count = self.timeline.count_at(self._position_s)
        self.is_playing = self.is_playing and not self.is_at_end

    def seek_fraction(self, fraction: float) -> None:
        """Go to a part of the whole time."""
        self.seek_s(fraction * self.timeline.total_s)

    def seek_count(self, count: int) -> None:
        """Go to where so many moments have happened; at least one has."""
        self._count = min(max(count, 1), len(self.timeline))
        self._position_s = self.timeline.time_of(self._count)
        self.is_playing = self.is_playing and not self.is_at_end

    def step(self, steps: int) -> None:
        """So many tokens on or back (a message that appears, a reply that begins or ends counts as one)."""
        self.pause()
        self.seek_count(self._count + steps)

    def seek_message(self, steps: int) -> None:
        """To where the next message appears, or to the beginning of this one, then of those before it."""
        starts = self.timeline.message_starts
        if steps > 0:
            at = bisect_right(starts, self._count) + steps - 1
            self.seek_count(starts[at] if at < len(starts) else len(self.timeline))
        else:
            at = bisect_left(starts, self._count) + steps
            self.seek_count(starts[max(at, 0)])

    def seek_end(self) -> None:
        """To the end, where it stands still."""
        self.seek_count(len(self.timeline))
