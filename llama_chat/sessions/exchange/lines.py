"""The lines of a file as JSON, one in memory at a time, each with the place where it can be found again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llama_chat.sessions.exchange.fields import BadValueError, ExchangeError, parse_json
from llama_chat.sessions.exchange.jsonl import MOST_LINE_BYTES

MOST_VALUES = 2_000_000
"""In one line; a reply of 70,000 tokens has 420,000."""
_BEFORE_VALUES = (b",", b"[", b"{")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its value."""

    number: int
    """From 1."""
    offset: int
    """Bytes before it."""
    value: Any


def lines_of(file: BinaryIO, name: str) -> Iterator[Line]:
    """The lines that are not empty.

    Raises:
        ExchangeError: one is too long, or no JSON; it names the line.
    """
    number, offset = 0, file.tell()
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(raw) > MOST_LINE_BYTES:
            raise at_line(name, number, f"it is longer than {MOST_LINE_BYTES:,} bytes")
        content = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
        if _value_count(content) > MOST_VALUES:
            raise at_line(name, number, f"it holds more than {MOST_VALUES:,} values")
        if content.strip():
            yield Line(number, offset, _value(content, name, number))
        offset += len(raw)


def value_at(path: Path, offset: int) -> Any:
    """The value of the line that begins there, which was read before.

    Raises:
        ExchangeError: it cannot be read again.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return parse_json(file.readline(MOST_LINE_BYTES + 1).removeprefix(_BYTE_ORDER_MARK).decode())
    except (OSError, ValueError) as error:
        raise changed(path) from error


def changed(path: Path) -> ExchangeError:
    """The error for a file that is not what it was."""
    return ExchangeError(f"{path} was changed while it was read.", hint="Open it again.")


def at_line(name: str, number: int, what: str) -> ExchangeError:
    """The error for that line."""
    return ExchangeError(f"{name}, line {number}: {what}.")


def _value_count(content: bytes) -> int:
    """About how many values the JSON has: each takes up to 70 bytes of memory, some 2 of the file."""
    count = sum(map(content.count, _BEFORE_VALUES))
    if count > MOST_VALUES:  # in strings, too? Then they do not count
        count = sum(map(_STRING.sub(b"", content).count, _BEFORE_VALUES))
    return count


def _value(content: bytes, name: str, number: int) -> Any:
    try:
        return parse_json(content.decode())
    except UnicodeDecodeError as error:
        raise at_line(name, number, f"byte {error.start + 1} is not UTF-8") from error
    except BadValueError as error:
        what = str(error) if content.endswith(b"\n") else f"the file ends in the middle of it; {error}"
        raise at_line(name, number, what) from error
