"""The settings that choose a token; apart from `events`, so that `--help` need not load those."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Sampling:
    """One snapshot of the settings that choose a token. Order: penalty, temperature, top-k, top-p, min-p."""

    temperature: float = field(
        default=0.7,
        metadata={
            "help": "How adventurous the choice is: divides the logits. 0 always takes the likeliest token.",
            "min": 0.0,
            "max": 10.0,
            "slider_max": 2.0,
        },
    )
    top_k: int = field(
        default=40,
        metadata={
            "help": "Keep only the K likeliest tokens. 0 keeps all.",
            "min": 0,
            "max": 1_000_000,
            "slider_max": 200,
            "scale": "log",
            "zero": "all",
        },
    )
    top_p: float = field(
        default=1.0,
        metadata={
            "help": "Keep the likeliest tokens that together have this probability. 1 keeps all.",
            "min": 0.0,
            "max": 1.0,
        },
    )
    min_p: float = field(
        default=0.0,
        metadata={
            "help": "Keep tokens at least this probable, relative to the likeliest. 0 keeps all.",
            "min": 0.0,
            "max": 1.0,
        },
    )
    repetition_penalty: float = field(
        default=1.0,
        metadata={
            "help": "Above 1, tokens that are already in the context become less likely. 1 is off.",
            "min": 0.1,
            "slider_min": 0.5,
            "max": 10.0,
            "slider_max": 2.0,
        },
    )
    max_new_tokens: int = field(
        default=512,
        metadata={
            "help": "A reply is cut after this many tokens.",
            "min": 1,
            "max": 1_000_000,
            "slider_max": 4096,
            "scale": "log",
        },
    )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0 or self.top_k == 1


def changed_settings(sampling: Sampling) -> list[str]:
    """Names of the settings that differ from their defaults."""
    return [name for name, known in _FIELDS.items() if getattr(sampling, name) != known.default]


_FIELDS = {field.name: field for field in fields(Sampling)}


def setting_label(name: str) -> str:
    """The name of a setting as the user reads it: `top-k`, `max new tokens`."""
    return name.replace("_", " ").replace("top ", "top-").replace("min p", "min-p")


def setting_value(name: str, value: float) -> str:
    """The value as it is typed: `0.7`, `all`."""
    zero: str | None = _FIELDS[name].metadata.get("zero")
    return zero if zero is not None and value == 0 else f"{value:,}"
