"""What a slider's track means: where a value stands on it, what a step is, how a value is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALL_AT = 0.94
"""Where the track of numbers ends when one more place, right at the end, stands for "all"."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A track from `low` to `high`; typed values may go up to `maximum`."""

    low: float
    high: float
    minimum: float
    maximum: float
    default: float
    is_integer: bool = False
    is_log: bool = False
    zero_name: str = ""
    """When set, 0 stands at the right end under this name: "all"."""

    @classmethod
    def of_setting(cls, default: Any, metadata: Mapping[str, Any]) -> Scale:
        """The scale that a field's metadata describes."""
        is_log = metadata.get("scale") == "log"
        zero_name = str(metadata.get("zero", ""))
        minimum = metadata["min"]
        low = metadata.get("slider_min", minimum)
        return cls(
            low=max(low, 1) if is_log or zero_name else low,
            high=metadata.get("slider_max", metadata["max"]),
            minimum=minimum,
            maximum=metadata["max"],
            default=default,
            is_integer=isinstance(default, int),
            is_log=is_log,
            zero_name=zero_name,
        )

    @property
    def _number_span(self) -> float:
        return ALL_AT if self.zero_name else 1.0

    @property
    def top(self) -> float:
        """The value at the right end."""
        return 0 if self.zero_name else self.high

    def fraction(self, value: float) -> float:
        """Where the value stands: 0 left, 1 right. What lies beyond an end stands at that end."""
        if self.zero_name and value == 0:
            return 1.0
        value = min(max(value, self.low), self.high)
        if self.is_log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return part * self._number_span

    def at(self, fraction: float) -> float:
        """The value that stands there, rounded to one that is easy to read."""
        if self.zero_name and fraction > (1 + ALL_AT) / 2:
            return 0
        part = min(max(fraction / self._number_span, 0.0), 1.0)
        if self.is_log:
            value = self.low * (self.high / self.low) ** part
        else:
            value = self.low + part * (self.high - self.low)
        return self.clamp(self._rounded(value))

    def _unit(self, value: float) -> float:
        if not self.is_integer:
            return (self.high - self.low) / 40
        return float(10 ** max(0, len(str(int(value))) - 2)) if self.is_log else 1.0

    def _rounded(self, value: float) -> float:
        unit = self._unit(value)
        return min(max(round(value / unit) * unit, self.low), self.high)

    def stepped(self, value: float, steps: int) -> float:
        """The value so many steps further; a step fits the size of the value."""
        if self.zero_name and value == 0:
            return 0 if steps >= 0 else self.clamp(self.high)
        unit = self._unit(value if steps > 0 else max(value - 1, self.low))
        grid = value / unit
        start = math.floor(grid + 1e-9) if steps > 0 else math.ceil(grid - 1e-9)
        stepped = (start + steps) * unit
        if self.zero_name and stepped > self.high:
            return self.clamp(self.high) if value < self.high else 0
        return self.clamp(min(max(stepped, self.low), max(self.high, value)))

    def clamp(self, value: float) -> float:
        """The nearest value that is allowed, an int where the scale is of ints."""
        value = min(max(value, self.minimum), self.maximum)
        return round(value) if self.is_integer else round(value, 4)

    def parse(self, text: str) -> float:
        """The value that was typed.

        Raises:
            ValueError: with the end of a sentence that begins with the text ("is outside 0 to 10").
        """
        if self.zero_name and text.strip().casefold() == self.zero_name:
            return 0
        try:
            value = float(text.replace(",", ""))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError("is not a number")
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"is outside {self.minimum:g} to {self.maximum:,.15g}")
        if self.is_integer and value != int(value):
            raise ValueError("is not a whole number")
        return self.clamp(value)

    def beyond(self, value: float) -> int:
        """-1 for a value left of the track's range, 1 for one right of it, 0 for one that is on it."""
        if self.zero_name and value == 0:
            return 0
        return (value > self.high) - (value < self.low)

    def format(self, value: float) -> str:
        """The value as it is shown."""
        if self.zero_name and value == 0:
            return self.zero_name
        return f"{round(value):,}" if self.is_integer else f"{value:.2f}"
