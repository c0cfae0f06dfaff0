"""Values out of a file that nobody vouches for: each is what it should be, or an error names it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from datetime import date
from typing import Any, NoReturn, TypeVar

from llama_chat.errors import StoreError

LATEST_TIME = 253_402_300_799.0
"""The end of the year 9999, beyond which there are no dates."""
_ID = re.compile("[0-9a-f]{16}")
_SHOWN = 40
LONGEST_NAME = 10_000
"""Characters of a title, or of the name of a model."""
_Kind = TypeVar("_Kind")


class ExchangeError(StoreError):
    """A file with sessions that cannot be taken; nothing of it was."""


class BadValueError(ValueError):
    """What is wrong with a value; who knows the place puts it before."""


def parse_json(line: str) -> Any:
    """The value of a JSON text.

    Raises:
        BadValueError: it is none, or not one that can be worked with.
    """
    try:
        return json.loads(line, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")  # "Unterminated string starting at"
        raise BadValueError(f"this is not JSON ({what} at character {error.pos + 1})") from error
    except RecursionError:
        raise BadValueError("it is nested too deeply") from None
    except BadValueError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise BadValueError("a number in it has too many digits") from error


def _no_constant(name: str) -> NoReturn:
    raise BadValueError(f"{name} is no number of JSON")


class Fields:
    """The fields of one object, taken one by one; `end` refuses what nobody took.

    Args:
        values: the object.
        what: its name in errors.
    """

    def __init__(self, values: object, what: str) -> None:
        if not isinstance(values, Mapping):
            raise BadValueError(f"{what} should be an object, not {shown(values)}")
        self._values = dict(values)
        self._what = what

    def take(self, name: str) -> Any:
        """The value as it is; None where there is none."""
        return self._values.pop(name, None)

    def text(self, name: str, *, longest: int | None = None) -> str:
        """A string of at most so many characters."""
        found: str = self._checked(name, "a text", lambda value: isinstance(value, str))
        if longest is not None and len(found) > longest:
            raise BadValueError(f"{name!r} of {self._what} is longer than {longest:,} characters")
        return found

    def name(self, name: str) -> str:
        """A string that can be a name: not endless, and without halves of characters."""
        found = self.text(name, longest=LONGEST_NAME)
        if not _is_unicode(found):
            raise BadValueError(f"{name!r} of {self._what} holds half a character")
        return found

    def date(self, name: str) -> str:
        """An ISO date, or an empty text."""
        found: str = self._checked(
            name, "a date like 2026-11-22", lambda value: value == "" or _is_date(value)
        )
        return found

    def one_of(self, name: str, choices: Collection[str]) -> str:
        """One of the strings."""
        wanted = f"one of {', '.join(choices)}"
        found: str = self._checked(name, wanted, lambda value: isinstance(value, str) and value in choices)
        return found

    def id(self, name: str) -> str:
        """An id as `new_id` makes them."""
        found: str = self._checked(name, "16 hexadecimal digits", _is_id)
        return found

    def id_or_none(self, name: str) -> str | None:
        """An id, or None where it is null."""
        if self._values.get(name) is not None:
            return self.id(name)
        self._values.pop(name, None)
        return None

    def whole(self, name: str, least: int, most: int) -> int:
        """An integer within the bounds."""
        wanted = f"a whole number from {least} to {most}"
        found: int = self._checked(name, wanted, lambda value: is_whole(value, least, most))
        return found

    def number(self, name: str, least: float, most: float) -> float:
        """A finite number within the bounds."""
        wanted = f"a number from {least:g} to {most:g}"
        return float(self._checked(name, wanted, lambda value: is_number(value, least, most)))

    def list(self, name: str, *, most: int | None = None) -> list[Any]:
        """A list of anything, of at most so many items."""
        found: list[Any] = self._checked(name, "a list", lambda value: isinstance(value, list))
        if most is not None and len(found) > most:
            raise BadValueError(f"{name!r} of {self._what} has more than {most:,} items")
        return found

    def end(self) -> None:
        """Make sure that nothing is left: a field that is not understood would be lost."""
        for name in self._values:
            raise BadValueError(f"{self._what} has a field {shown(name)} that this llama-chat does not know")

    def _checked(self, name: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
        if name not in self._values:
            raise BadValueError(f"{self._what} has no {name!r}")
        value = self._values.pop(name)
        if not fits(value):
            raise BadValueError(f"{name!r} of {self._what} should be {wanted}, not {shown(value)}")
        return value


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_whole(value: object, least: int, most: int) -> bool:
    """Whether it is an integer within the bounds; true and false are none."""
    return type(value) is int and least <= value <= most


def is_number(value: object, least: float, most: float) -> bool:
    """Whether it is a finite number within the bounds."""
    return type(value) in (int, float) and math.isfinite(value) and least <= value <= most  # type: ignore[arg-type, operator]  # told by type()


def plain_dataclass(kind: type[_Kind], values: object, what: str, **known: Any) -> _Kind:
    """The dataclass out of an object; fields are checked by their default's type and their stated range.

    Args:
        kind: its fields without a default are texts, unless they are `known`.
        values: the object; a field with a default may be missing.
        what: its name in errors.
        known: values that were checked already.
    """
    source = Fields(values, what)
    found = dict(known)
    for field in fields(kind):  # type: ignore[arg-type]  # only ever called with dataclasses
        value = source.take(field.name)
        if field.name in known or (value is None and field.default is not MISSING):
            continue
        kept = Fields({field.name: value}, what)
        least, most = field.metadata.get("min", 0), field.metadata.get("max", 2**31)
        match field.default:
            case int():
                found[field.name] = kept.whole(field.name, least, most)
            case float():
                found[field.name] = kept.number(field.name, least, most)
            case _:
                found[field.name] = kept.text(field.name)
                if not _is_unicode(found[field.name]):
                    raise BadValueError(f"{field.name!r} of {what} holds half a character")
    source.end()
    return kind(**found)


def shown(value: object) -> str:
    """The value in an error: short, and in one line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value) if isinstance(value, str | int | float) else _kind_of(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _kind_of(value: object) -> str:
    return "a list" if isinstance(value, list) else "an object"
