"""What a sweep varies: `temperature=0.1,1,10` as the settings of its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import Any

from llama_chat.errors import UsageError
from llama_chat.sampling import Sampling, setting_label, setting_value
from llama_chat.setting_values import parsed_value, shown_value

NEW_TOKENS = 48
"""Tokens of a column, where nobody says how many: a few lines, side by side on one screen."""
NEUTRAL = Sampling(
    temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0, max_new_tokens=NEW_TOKENS
)
"""What the settings are that are not varied: none of them does anything, so what differs comes of the one."""
MOST_COLUMNS = 16
LARGEST_SEED = 2**32 - 1

DEFAULT_VALUES: Mapping[str, tuple[float, ...]] = {
    "temperature": (0.1, 0.316, 1.0, 3.16, 10.0),
    "top_k": (1, 5, 40, 1000, 0),
    "top_p": (0.1, 0.5, 0.9, 0.99, 1.0),
    "min_p": (0.5, 0.2, 0.1, 0.01, 0.0),
    "repetition_penalty": (0.8, 1.0, 1.1, 1.3, 2.0),
    "seed": (1, 2, 3, 4, 5),
}
"""By setting that can be varied, in the order of the sliders; temperatures in half powers of ten."""

_EXAMPLE = "For example: --vary temperature=0.1,1,10 or --vary top-k=1,10,all"
_FIELDS: dict[str, Field[Any]] = {field.name: field for field in fields(Sampling)}


@dataclass(frozen=True, slots=True)
class SweepColumn:
    """The settings and the seed of one column."""

    sampling: Sampling
    seed: int


@dataclass(frozen=True, slots=True)
class Variation:
    """The setting that differs from column to column, and its values."""

    name: str
    """Of the field: `top_k`; or `seed`."""
    values: tuple[float, ...]

    @property
    def label(self) -> str:
        """As the user reads it: `top-k`."""
        return setting_label(self.name)

    def headings(self) -> list[str]:
        """What stands above each column: `temperature 0.316`, `top-k all`, `seed 7`."""
        return [f"{self.label} {value_text(self.name, value)}" for value in self.values]

    def columns(self, others: Sampling, seed: int) -> list[SweepColumn]:
        """The columns; all settings but this one are as in `others`."""
        if self.name == "seed":
            return [SweepColumn(others, int(value)) for value in self.values]
        changes: list[dict[str, Any]] = [{self.name: value} for value in self.values]
        return [SweepColumn(replace(others, **change), seed) for change in changes]


def default_variation(name: str = "temperature") -> Variation:
    """The usual row of values of that setting."""
    return Variation(name, DEFAULT_VALUES[name])


def value_text(name: str, value: float) -> str:
    """One value as it is typed: `0.1`, `all`."""
    if isinstance(value, int):
        return str(value) if value or name == "seed" else setting_value(name, value)
    return f"{value:.6g}"


def parse_variation(text: str) -> Variation:
    """What `NAME=A,B,...` says; `NAME` alone takes the usual values.

    Raises:
        UsageError: there is no such setting, there are too many values, or one does not fit or comes twice.
    """
    typed, equals, row = text.partition("=")
    name = typed.strip().lower().removeprefix("--").replace("-", "_").replace(" ", "_")
    if name not in DEFAULT_VALUES:
        raise UsageError(
            f"{shown_value(typed)} cannot be varied; {_names()} can.",
            hint=_EXAMPLE,
        )
    if not equals:
        return default_variation(name)
    words = [word.strip() for word in row.split(",")]
    if len(words) > MOST_COLUMNS:
        raise UsageError(f"{len(words):,} values are too many for one sweep.", hint=f"Up to {MOST_COLUMNS}.")
    return Variation(name, tuple(_values(name, words)))


def _names() -> str:
    *first, last = (name.replace("_", "-") for name in DEFAULT_VALUES)
    return f"{', '.join(first)} and {last}"


def _values(name: str, words: Sequence[str]) -> Iterator[float]:
    seen: set[float] = set()
    for word in words:
        if not word:
            raise UsageError(f"There is a value missing in --vary {name.replace('_', '-')}.", hint=_EXAMPLE)
        value = _value(name, word)
        if value in seen:
            raise UsageError(f"{shown_value(word)} stands there twice.", hint="Name each value once.")
        seen.add(value)
        yield value


def _value(name: str, word: str) -> float:
    """Raises `UsageError` where the word is no value of the setting."""
    try:
        if name == "seed":
            return _seed(word)
        known = _FIELDS[name]
        value: float = 0 if word.lower() == known.metadata.get("zero") else parsed_value(known, word)
    except ValueError as error:
        raise UsageError(f"{setting_label(name)}: {shown_value(word)} {error}.", hint=_EXAMPLE) from None
    return value


def _seed(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 10 and int(word) <= LARGEST_SEED):
        raise ValueError(f"is no whole number from 0 to {LARGEST_SEED:,}")
    return int(word)
