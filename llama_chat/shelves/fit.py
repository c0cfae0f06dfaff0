"""Whether a model fits a device, as plain data: worked out where torch is, shown where it is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShortFit:
    """What a model takes on the device that it would run on."""

    verdict: str
    """`fits`, `tight`, `does not fit`, `unknown`."""
    needed_bytes: int
    """Weights, keys and values of the context, and work."""
    free_bytes: int | None
    device: str
    dtype: str = ""
    """What the weights would be kept in, as the user knows it: `bf16`, `int8`, `Q4_1`."""
