"""A path that is being typed: how it may go on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MOST_ENTRIES = 2_000


@dataclass(frozen=True, slots=True)
class PathEntry:
    """One way to go on."""

    path: str
    """All of it, as it would be typed; a folder has `/` behind it."""
    size_bytes: int | None
    """None for a folder."""

    @property
    def is_folder(self) -> bool:
        """Whether there is more behind it."""
        return self.size_bytes is None


def entries_of(typed: str) -> list[PathEntry]:
    """The folders and files that the typed path may go on to, folders first; hidden ones only after a dot.

    Asks the disk, for at most `MOST_ENTRIES` entries of one folder.
    """
    if typed == "~":
        return [PathEntry("~/", None)]
    folder_text, name = os.path.split(typed)
    wanted, found = name.casefold(), []
    try:
        with os.scandir(Path(folder_text or ".").expanduser()) as entries:
            for entry, _count in zip(entries, range(MOST_ENTRIES), strict=False):
                if entry.name.startswith(".") and not name.startswith("."):
                    continue
                if entry.name.casefold().startswith(wanted):
                    found += _entry(entry, folder_text)
    except (OSError, RuntimeError, ValueError):
        return []
    return sorted(found, key=lambda entry: (not entry.is_folder, entry.path.casefold()))


def _entry(entry: os.DirEntry[str], folder_text: str) -> list[PathEntry]:
    path = os.path.join(folder_text, entry.name)  # noqa: PTH118  (keeps a leading "./" as it was typed)
    try:
        if entry.is_dir():
            return [PathEntry(f"{path}/", None)]
        return [PathEntry(path, entry.stat().st_size)] if entry.is_file() else []
    except OSError:
        return []
