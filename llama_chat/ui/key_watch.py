"""The table `[keys]` of the settings file, looked at now and then: what was written there counts at once."""

from __future__ import annotations

import os
from pathlib import Path

from llama_chat.key_wishes import KeyWish
from llama_chat.settings import read_layers
from llama_chat.toml_edit import read_toml


class KeyWatch:
    """Tells which keys are wished for since the file was saved.

    Args:
        path: the settings file; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def look(self) -> tuple[KeyWish, ...] | None:
        """The wishes, if the file was saved since the last look; else None, also where it cannot be read."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            read_toml(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValueError):  # half saved, or no TOML any more: the keys stay as they are
            return None
        return read_layers(self._path, os.environ, {}).keys

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:  # none, or none any more
            return None
        return stat.st_mtime_ns, stat.st_size
