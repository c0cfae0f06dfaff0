"""How a fetch is told: one total, a speed that follows the network, and no time left that is a guess."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from llama_chat.pull_progress import HALF_LIFE_S, MEASURED_S, Download, PullProgress, SpeedMeter

MB = 1_000_000


@dataclass
class Fetch:
    """A download on a clock that the test turns."""

    total_bytes: int = 100 * MB
    now_s: float = 50.0
    done_bytes: int = 0
    reports: list[PullProgress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.download = Download("Downloading", self.total_bytes, self.reports.append, lambda: self.now_s)

    def come(self, megabytes_per_s: float, seconds: float) -> PullProgress:
        """So fast for so long, told four times a second, as pip does."""
        for _ in range(round(4 * seconds)):
            self.now_s += 0.25
            self.done_bytes += round(megabytes_per_s * MB / 4)
            self.download(self.done_bytes, self.total_bytes)
        return self.reports[-1]


def test_the_clock_starts_when_bytes_do_not_when_pip_does() -> None:
    fetch = Fetch()
    fetch.now_s += 30  # pip looks for the index
    fetch.download(0, fetch.total_bytes)
    assert fetch.come(10, seconds=4).bytes_per_s == pytest.approx(10 * MB)


def test_no_time_is_foretold_before_two_seconds_were_measured() -> None:
    fetch = Fetch()
    fetch.download(0, fetch.total_bytes)
    fetch.come(1, seconds=MEASURED_S - 0.25)
    assert {report.left_s for report in fetch.reports} == {None}
    assert "left" not in fetch.reports[-1].figures
    assert fetch.come(1, seconds=0.25).left_s == pytest.approx(98, abs=1)
    assert fetch.reports[-1].figures.endswith("1:38 left")


def test_the_speed_follows_the_network_without_a_jump() -> None:
    fetch = Fetch(total_bytes=1000 * MB)
    fetch.download(0, fetch.total_bytes)
    fetch.come(20, seconds=10)
    before = fetch.reports[-1].bytes_per_s
    assert before == pytest.approx(20 * MB)
    assert fetch.come(2, seconds=0.25).bytes_per_s > 0.9 * before
    assert fetch.come(2, seconds=HALF_LIFE_S).bytes_per_s < 0.7 * before
    assert fetch.come(2, seconds=20).bytes_per_s < 3 * MB


def test_the_first_and_the_last_bytes_are_always_told_and_few_between() -> None:
    fetch = Fetch(total_bytes=1000)
    for done in range(1001):
        fetch.now_s += 0.001
        fetch.download(done, 1000)
    assert fetch.reports[0].done_bytes == 0
    assert fetch.reports[-1].done_bytes == 1000
    assert len(fetch.reports) <= 13


def test_a_server_that_does_not_say_how_much_will_come_leaves_the_total_that_was_known() -> None:
    fetch = Fetch(total_bytes=7 * MB)
    fetch.download(0, 0)
    fetch.now_s += 1
    fetch.download(3 * MB, 0)
    assert (fetch.reports[-1].done_bytes, fetch.reports[-1].total_bytes) == (3 * MB, 7 * MB)


def test_a_download_that_begins_again_has_no_speed_below_zero() -> None:
    fetch = Fetch()
    fetch.download(0, fetch.total_bytes)
    fetch.come(10, seconds=3)
    fetch.now_s += 1
    fetch.download(0, fetch.total_bytes)
    assert 0 < fetch.reports[-1].bytes_per_s < 10 * MB


def test_the_end_has_all_bytes_and_other_words() -> None:
    fetch = Fetch()
    fetch.download.end(90 * MB, "Checking")
    last = fetch.reports[-1]
    assert (last.fraction, last.what, last.is_complete, last.left_s) == (1.0, "Checking", True, None)
    assert last.figures == "   90.0 of 90.0 MB  100 %"


def test_left_s_is_unknown_without_a_speed_or_a_total() -> None:
    progress = PullProgress(0, 100, 2.0, "x")
    assert progress.left_s is None
    assert replace(progress, done_bytes=25).left_s == pytest.approx(6.0)
    assert replace(progress, done_bytes=25, total_bytes=0).left_s is None
    assert replace(progress, done_bytes=25, total_bytes=0).fraction == 0.0


def test_a_meter_that_heard_nothing_has_no_speed() -> None:
    assert SpeedMeter().bytes_per_s == 0.0
