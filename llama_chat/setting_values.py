"""One value checked against one field: the type, range, choices, aliases and pattern in its metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import Field
from typing import Any

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")


def checked_value(field: Field[Any], value: object) -> Any:
    """The value as the field wants it: a whole float becomes an int, an alias the name it stands for.

    Raises:
        ValueError: with the end of a sentence that begins with the value ("is outside 0 to 10").
    """
    wanted: type = type(field.default)
    if wanted is bool:
        if not isinstance(value, bool):
            raise ValueError("is neither true nor false")
        return value
    if wanted is str:
        if not isinstance(value, str):
            raise ValueError("is not a text")
        return _checked_text(value, field.metadata)
    return _checked_number(value, field.metadata, whole=wanted is int)


def parsed_value(field: Field[Any], text: str) -> Any:
    """The value that a text from the environment stands for.

    Raises:
        ValueError: as `checked_value`.
    """
    wanted: type = type(field.default)
    if wanted is str:
        return checked_value(field, text)
    word = text.strip().lower()
    if wanted is bool:
        if word not in TRUE_WORDS + FALSE_WORDS:
            raise ValueError("is neither true nor false")
        return word in TRUE_WORDS
    try:
        number: int | float = int(word)
    except ValueError:
        try:
            number = float(word)
        except ValueError:
            raise ValueError("is not a whole number" if wanted is int else "is not a number") from None
    return checked_value(field, number)


def shown_value(value: object, *, limit: int = 60) -> str:
    """The value for a message: quoted, in one line, without control characters, not endless."""
    try:
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; arrays without end
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _checked_text(text: str, metadata: Mapping[str, Any]) -> str:
    choices: Sequence[str] | None = metadata.get("choices")
    if choices is not None:
        word = text.strip().lower()
        aliases: Mapping[str, str] = metadata.get("aliases", {})
        word = aliases.get(word, word)
        if word not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return word
    pattern: str | None = metadata.get("pattern")
    if pattern is not None:
        word = text.strip().lower()
        if not re.fullmatch(pattern, word):
            raise ValueError(f"is none of {metadata['pattern_help']}")
        return word
    return text


def _checked_number(value: object, metadata: Mapping[str, Any], *, whole: bool) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is not a whole number" if whole else "is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is not a finite number")
    low, high = metadata.get("min", -math.inf), metadata.get("max", math.inf)
    if not low <= value <= high:
        raise ValueError(f"is outside {low:g} to {_figure(high)}")
    if whole and value != int(value):
        raise ValueError("is not a whole number")
    return int(value) if whole else float(value) + 0.0  # -0.0 would be shown as such


def _figure(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
