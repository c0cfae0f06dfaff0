"""What is said of a replay, the same on every kind of screen."""

from __future__ import annotations

from dataclasses import fields

from llama_chat.events import Sampling

_SETTINGS = {field.name: field for field in fields(Sampling)}


def sampling_moves(before: Sampling, after: Sampling) -> str:
    """Which sliders were moved: `temperature 0.7 → 1.2, top-k 40 → all`; empty for none."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in _SETTINGS}
    return ", ".join(
        f"{_label(name)} {_value(name, old)} → {_value(name, new)}"
        for name, (old, new) in pairs.items()
        if old != new
    )


def _label(name: str) -> str:
    return name.replace("_", " ").replace("top ", "top-").replace("min p", "min-p")


def _value(name: str, value: float) -> str:
    zero: str | None = _SETTINGS[name].metadata.get("zero")
    return zero if zero is not None and value == 0 else f"{value:,}"


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"
