"""Figures of a tensor's values, taken slice by slice: of 16 GB a few megabytes are in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_chat.engine.inspect.listing import Slices

FIRST_VALUES = 10
BINS = 48

# Weights have tails: over the whole range the histogram of nearly every tensor is one bar in the middle.
_SIGMAS = 4.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie in each of equal bins from `low` to `high`, and how many outside."""

    low: float
    high: float
    counts: tuple[int, ...]
    below: int
    above: int


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Figures of a tensor's values. Mean and the like are those of the finite ones, None without any."""

    count: int
    first: tuple[float, ...]
    """The first ten, as they lie in the file."""
    mean: float | None
    std: float | None
    """Standard deviation, dividing by the number of values."""
    smallest: float | None
    largest: float | None
    nan_count: int
    inf_count: int
    histogram: Histogram | None


@dataclass(slots=True)
class _Moments:
    """Sums in f64, merged slice by slice (Chan, Golub, LeVeque 1979)."""

    count: int = 0
    finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    smallest: float = float("inf")
    largest: float = float("-inf")
    nan_count: int = 0
    inf_count: int = 0
    first: list[float] = field(default_factory=list)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        self.count += values.size
        self.first += values[: FIRST_VALUES - len(self.first)].tolist()
        self.nan_count += int(np.isnan(values).sum())
        self.inf_count += int(np.isinf(values).sum())
        values = _finite(values)
        if not values.size:
            return
        mean = float(values.mean())
        total, delta = self.finite + values.size, mean - self.mean
        self.squares += float(np.square(values - mean).sum())
        self.squares += delta * delta * self.finite * values.size / total
        self.mean += delta * values.size / total
        self.finite = total
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))

    @property
    def std(self) -> float:
        return float(np.sqrt(self.squares / self.finite))


def tensor_statistics(slices: Callable[[], Slices]) -> TensorStatistics:
    """The figures; the tensor is read twice, since the histogram wants to know the spread.

    Args:
        slices: begins anew at every call.
    """
    moments = _Moments()
    with np.errstate(over="ignore", invalid="ignore"):  # f64 near its end: the spread is infinite then
        for values in _doubles(slices()):
            moments.add(values)
    has_values = moments.finite > 0
    return TensorStatistics(
        count=moments.count,
        first=tuple(moments.first),
        mean=moments.mean if has_values else None,
        std=moments.std if has_values else None,
        smallest=moments.smallest if has_values else None,
        largest=moments.largest if has_values else None,
        nan_count=moments.nan_count,
        inf_count=moments.inf_count,
        histogram=_histogram(slices, moments) if has_values else None,
    )


def _histogram(slices: Callable[[], Slices], moments: _Moments) -> Histogram | None:
    """Bins over four standard deviations around the mean, or over less where all values are in less."""
    low = max(moments.smallest, moments.mean - _SIGMAS * moments.std)
    high = min(moments.largest, moments.mean + _SIGMAS * moments.std)
    if moments.smallest == moments.largest:
        return Histogram(low, high, (moments.finite,), 0, 0)
    if not (np.isfinite(high - low) and (high - low) / BINS > 0):
        return None
    counts = np.zeros(BINS, dtype=np.int64)
    below = above = 0
    for values in map(_finite, _doubles(slices())):
        counts += np.histogram(values, BINS, (low, high))[0]
        below += int((values < low).sum())
        above += int((values > high).sum())
    return Histogram(low, high, tuple(counts.tolist()), below, above)


def _doubles(slices: Slices) -> Iterator[npt.NDArray[np.float64]]:
    for values in slices:
        yield values.astype(np.float64)


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    keep: npt.NDArray[Any] = np.isfinite(values)
    return values if keep.all() else values[keep]
