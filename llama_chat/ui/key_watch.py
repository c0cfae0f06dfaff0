"""The table `[keys]` of the settings file, looked at now and then: what was written there counts at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_chat.key_wishes import KEYS_TABLE, KeyWish
from llama_chat.settings import read_layers
from llama_chat.toml_edit import read_toml

_ABOUT_KEYS = (f"{KEYS_TABLE}.", f"'{KEYS_TABLE}' ")


@dataclass(frozen=True, slots=True)
class KeyLook:
    """What the file says of the keys now."""

    wishes: tuple[KeyWish, ...] = ()
    notices: tuple[str, ...] = ()
    """What is wrong with other lines of the table, as far as that was not said before."""


class KeyWatch:
    """Tells which keys are wished for since the file was saved.

    Args:
        path: the settings file; need not exist.
        told: notices that were said at the start.
    """

    def __init__(self, path: Path, told: Sequence[str] = ()) -> None:
        self._path = path
        self._last = self._read = self._stamp()
        self._told = {_complaint(notice) for notice in told}

    def look(self) -> KeyLook | None:
        """What it says, if it was saved since the last time; else None, also where it cannot be read.

        It is read once two looks find it the same: by then whoever writes it is through.
        """
        stamp, before = self._stamp(), self._last
        self._last = stamp
        if stamp == self._read or stamp != before:
            return None
        self._read = stamp
        try:
            read_toml(self._path.read_bytes())
        except FileNotFoundError:
            return KeyLook()
        except (OSError, ValueError):  # no TOML any more: the keys stay as they are
            return None
        layers = read_layers(self._path, os.environ, {})
        about_keys = [each for each in layers.notices if _complaint(each).startswith(_ABOUT_KEYS)]
        new = tuple(each for each in about_keys if _complaint(each) not in self._told)
        self._told = set(map(_complaint, about_keys))
        return KeyLook(layers.keys, new)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:  # none, or none any more
            return None
        return stat.st_mtime_ns, stat.st_size


def _complaint(notice: str) -> str:
    """Without the file and the line, which other settings move."""
    return notice.partition(": ")[2]
