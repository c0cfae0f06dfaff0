"""What is said of a replay, the same on every kind of screen."""

from __future__ import annotations

from dataclasses import fields

from llama_chat.sampling import Sampling, setting_label, setting_value

_SETTINGS = tuple(field.name for field in fields(Sampling))


def sampling_moves(before: Sampling, after: Sampling) -> str:
    """Which sliders were moved: `temperature 0.7 → 1.2, top-k 40 → all`; empty for none."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in _SETTINGS}
    return ", ".join(
        f"{setting_label(name)} {setting_value(name, old)} → {setting_value(name, new)}"
        for name, (old, new) in pairs.items()
        if old != new
    )


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"
