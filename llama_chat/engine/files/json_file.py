"""JSON out of a model's folder: an object of a bounded size, or one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llama_chat.engine.files.checkpoint import DAMAGED, MISSING, shown, unreadable
from llama_chat.errors import ModelError

# A tokenizer of 128,000 tokens and 280,000 merges has about a million values. Parsed, a value takes up to a
# hundred bytes, so that the size of the file alone would not bound the memory.
MAX_VALUES = 1 << 22


def read_json(path: Path, most_bytes: int) -> dict[str, Any]:
    """The object in the file.

    Raises:
        ModelError: the file is missing or larger than that, or what is in it is no JSON, is nested too deep,
            has a key twice, or is no object.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: there is no {path.name} in this folder", hint=MISSING) from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if len(raw) > most_bytes:
        raise ModelError(f"{path.name}: has more than {most_bytes:,} bytes", hint=DAMAGED)
    return parse_json(raw, path.name)


def parse_json(raw: bytes, where: str) -> dict[str, Any]:
    """The object that the bytes say.

    Args:
        raw: UTF-8.
        where: the file, for errors.

    Raises:
        ModelError: as `read_json`.
    """
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if values > MAX_VALUES:
        raise ModelError(f"{where}: holds more than {MAX_VALUES:,} values", hint=DAMAGED)
    try:
        found = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ModelError(f"{where}: is nested too deep", hint=DAMAGED) from None
    except _RepeatedKeyError as error:
        raise ModelError(f"{where}: has {shown(error.key)} twice", hint=DAMAGED) from None
    except UnicodeDecodeError:
        raise ModelError(f"{where}: is no text in UTF-8", hint=DAMAGED) from None
    except ValueError as error:  # also a number of thousands of digits
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
        raise ModelError(f"{where}: is no JSON: {reason}", hint=DAMAGED) from None
    if not isinstance(found, dict):
        raise ModelError(f"{where}: is a {type(found).__name__}, wanted an object", hint=DAMAGED)
    return found


class _RepeatedKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return found
