"""Where a key stands in a TOML text, and the text with one value changed and all else as it was.

No grammar of our own: a statement is the shortest run of lines that `tomllib` takes, and every edit is read
again and compared before it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\\\n]*"|'[^'\n]*')"""
_PATH = rf"[ \t]*({_KEY}(?:[ \t]*\.[ \t]*{_KEY})*)[ \t]*"
_ASSIGNMENT = re.compile(rf"{_PATH}=[ \t]*")
_HEADER = re.compile(rf"[ \t]*\[{_PATH}\]")
_CLOSING = re.compile(r"""[\]}]|\"{3}|'{3}""")

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Statement:
    """A table header or an assignment; `path` is absolute, `start` and `end` are offsets in the text."""

    path: tuple[str, ...]
    is_header: bool
    line: int
    """From 1."""
    start: int
    end: int
    """Behind the last character, the newline not included."""


def read_toml(content: bytes) -> tuple[str, dict[str, Any]]:
    """The text (a byte order mark dropped) and what it says.

    Raises:
        ValueError: it is not TOML; the message says why, and where.
    """
    import tomllib  # 7 ms: not on the way to `--help`

    try:
        text = content.decode("utf-8-sig")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"not TOML: no text in UTF-8 (line {line})") from error
    except RecursionError as error:
        raise ValueError("not TOML: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not TOML: {error}") from error


def statements(text: str) -> Iterator[Statement]:
    """Every table header and assignment of a valid TOML text, in order; arrays of tables are passed over."""
    lines = text.split("\n")
    table: tuple[str, ...] | None = ()
    i = offset = 0
    while i < len(lines):
        count = _statement_lines(lines, i)
        chunk = "\n".join(lines[i : i + count])
        end = offset + len(chunk)
        if header := _HEADER.match(chunk):
            table = _path(header[1])
            yield Statement(table, True, i + 1, offset, end)
        elif chunk.lstrip().startswith("["):
            table = None
        elif table is not None and (assignment := _ASSIGNMENT.match(chunk)):
            yield Statement(table + _path(assignment[1]), False, i + 1, offset, end)
        offset = end + 1
        i += count


def line_of(text: str, *path: str) -> int | None:
    """The line, from 1, in which the key (or the table that holds it) stands; None if it cannot be found."""
    for wanted in (path[:n] for n in range(len(path), 0, -1)):
        for statement in statements(text):
            if statement.path == wanted:
                return statement.line
    return None


def with_value(text: str, table: str | tuple[str, ...], key: str, value: Scalar) -> str:
    """The text with `table.key` set to the value; a table within a table is named by its path.

    Raises:
        ValueError: the text is no TOML, or it is written so that the value cannot be put in without
            touching something else.
    """
    path = (table,) if isinstance(table, str) else table
    name = ".".join(path)
    expected = read_toml(text.encode())[1]
    inner = expected
    for part in path:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ValueError(f"'{part}' stands where the table [{name}] should")
    inner[key] = value
    for edited in _edits(text, path, key, _literal(value)):
        if _is_same(edited, expected):
            return edited
    raise ValueError(f"'{name}.{key}' cannot be changed in place as it is written")


def with_table(text: str, path: tuple[str, ...], values: Mapping[str, Scalar]) -> str:
    """The text with the table holding just these values; where it can be, it keeps its place and comments.

    Raises:
        ValueError: as `with_value`.
    """
    try:
        return _with_table(text, path, values)
    except ValueError:  # an inline table, say
        return _with_table(without_table(text, path), path, values)


def _with_table(text: str, path: tuple[str, ...], values: Mapping[str, Scalar]) -> str:
    for key in _inner(read_toml(text.encode())[1], path):
        text = text if key in values else without_table(text, (*path, key))
    for key, value in reversed(list(values.items())):  # a new one goes to the top
        text = with_value(text, path, key, value)
    return text


def without_table(text: str, path: tuple[str, ...]) -> str:
    """The text without the table, or the key, at the path; with its lines go the comments between them.

    Raises:
        ValueError: the text is no TOML, or it is written so that nothing else would stay as it is.
    """
    expected = read_toml(text.encode())[1]
    if path[-1] not in _inner(expected, path[:-1]):
        return text
    del _inner(expected, path[:-1])[path[-1]]
    bare = _without_empty(expected, path[:-1])
    for edited in _cuts(text, [each for each in statements(text) if each.path[: len(path)] == path]):
        if _is_same(edited, expected) or _is_same(edited, bare):
            return edited
    raise ValueError(f"'{'.'.join(path)}' cannot be taken out as it is written")


def _inner(document: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The table at the path; an empty one where there is none."""
    for part in path:
        found = document.get(part)
        document = found if isinstance(found, dict) else {}
    return document


def _without_empty(document: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The document without the table at the path, where that is empty: no header names it any more."""
    if not path or _inner(document, path):
        return document
    return {key: value for key, value in document.items() if key != path[0]}


def _cuts(text: str, found: list[Statement]) -> Iterator[str]:
    """Candidates: all from the first statement to the last cut out, then each by itself."""
    if found:  # one of the blank lines around goes as well
        yield re.sub(r"(\n)\r?\n\Z", r"\1", text[: found[0].start]) + text[found[-1].end + 1 :]
    for statement in reversed(found):
        text = text[: statement.start] + text[statement.end + 1 :]
    yield text


def _edits(text: str, path: tuple[str, ...], key: str, literal: str) -> Iterator[str]:
    """Candidates, the likeliest first: the value replaced, a line put into the table, a table at the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    table = ".".join(path)
    found = list(statements(text))
    for statement in found:
        if statement.path == (*path, key) and not statement.is_header:
            yield _replaced(text, statement, literal)
    for statement in found:
        if statement.path == path and statement.is_header:
            end = statement.end - (text[: statement.end].endswith("\r"))
            yield f"{text[:end]}{newline}{key} = {literal}{text[end:]}"
    for statement in reversed(found):
        if statement.path[:-1] == path and not statement.is_header:
            yield f"{text[: statement.start]}{table}.{key} = {literal}{newline}{text[statement.start :]}"
    gap = "" if not text else newline if text.endswith("\n") else newline * 2
    yield f"{text}{gap}[{table}]{newline}{key} = {literal}{newline}"


def _replaced(text: str, statement: Statement, literal: str) -> str:
    chunk = text[statement.start : statement.end]
    assignment = _ASSIGNMENT.match(chunk)
    assert assignment is not None
    tail = _tail_start(chunk, assignment.end())
    return (
        text[: statement.start] + chunk[: assignment.end()] + literal + chunk[tail:] + text[statement.end :]
    )


def _tail_start(chunk: str, value_start: int) -> int:
    """Where the value ends and only blanks and a comment follow: a # within a string does not count."""
    end = len(chunk)
    for mark in re.finditer("#", chunk[value_start:]):
        if _is_toml(chunk[: value_start + mark.start()]):
            end = value_start + mark.start()
            break
    return len(chunk[:end].rstrip(" \t\r\n"))


def _statement_lines(lines: list[str], first: int) -> int:
    """How many lines the statement at `first` takes: the fewest that are TOML by themselves."""
    if "=" not in lines[first]:
        return 1
    for count in range(1, len(lines) - first + 1):
        can_end = count == 1 or _CLOSING.search(lines[first + count - 1])
        if can_end and _is_toml("\n".join(lines[first : first + count])):
            return count
    return 1


def _path(text: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, text))


def _literal(value: Scalar) -> str:
    import tomli_w

    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _is_toml(text: str) -> bool:
    try:
        read_toml(text.encode())
    except ValueError:
        return False
    return True


def _is_same(text: str, expected: dict[str, Any]) -> bool:
    try:
        return _ordered(read_toml(text.encode())[1]) == _ordered(expected)
    except ValueError:
        return False


def _ordered(value: object) -> str:
    """A text to compare by: nan is not equal to itself, and 1 is equal to 1.0 and to True."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_ordered(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_ordered(item) for item in value) + "]"
    return f"{type(value).__name__} {value!r}"
