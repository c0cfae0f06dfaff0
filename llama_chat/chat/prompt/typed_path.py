"""A path that is typed: what it stands for, what is in its folder, and how it may go on.

Where a path is completed, it is done so: in the prompt, on the card of files, on that of the models.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

MOST_ENTRIES = 2_000
"""Of one folder at a time; with their sizes 45 ms on two busy cores (2026-11-22)."""


def typed_path(words: str) -> Path:
    """What the words mean as a path, whatever they are: `~` is the home, and `~nobody` is itself."""
    try:
        return Path(words).expanduser()
    except RuntimeError:  # no such user, or no home
        return Path(words)


def is_there(path: Path) -> bool:
    """Whether something is there. What is no path, or may not be asked about, is not."""
    return os.path.exists(path)  # noqa: PTH110  (`Path.exists` raises for a name that is too long)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; false where that cannot be said."""
    return os.path.isdir(path)  # noqa: PTH112  (as above)


class Named(Protocol):
    """Something with a name."""

    @property
    def name(self) -> str:
        """As it is listed."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class PathEntry:
    """What a folder has, and a way for a path to go on."""

    name: str
    """Of a folder, with `/` behind it."""
    path: str
    """All of it, as it would be typed."""
    size_bytes: int | None
    """None for a folder."""

    @property
    def is_folder(self) -> bool:
        """Whether there is more behind it."""
        return self.size_bytes is None


def split_path(typed: str) -> tuple[str, str]:
    """The folder that is looked into, as it was typed, and the beginning of a name: `~/`, `no` of `~/no`."""
    if typed == "~":
        return "~/", ""
    cut = max(typed.rfind(sep) for sep in filter(None, ("/", os.altsep and os.sep))) + 1
    return typed[:cut], typed[cut:]


def folder_entries(folder: str, name: str = "") -> list[PathEntry]:
    """The folders, then the files, whose names hold this name, in any case; none where nobody may look.

    Asks the disk. Of more than `MOST_ENTRIES` of them, those that came first.
    """
    wanted, found = name.casefold(), []
    try:
        with os.scandir(typed_path(folder or ".")) as entries:
            for entry in entries:
                if wanted in entry.name.casefold():
                    found += _entry(entry, folder)
                    if len(found) >= MOST_ENTRIES:
                        break
    except (OSError, ValueError):
        return []
    return sorted(found, key=lambda entry: (not entry.is_folder, entry.name.casefold()))


def _entry(entry: os.DirEntry[str], folder: str) -> list[PathEntry]:
    try:
        if entry.is_dir():
            return [PathEntry(f"{entry.name}/", f"{folder}{entry.name}/", None)]
        return [PathEntry(entry.name, folder + entry.name, entry.stat().st_size)] if entry.is_file() else []
    except OSError:
        return []


def going_on(entries: Iterable[N], name: str) -> list[N]:
    """Those that the name may become: they begin with it, or hold it; hidden ones only behind a dot."""
    wanted = name.casefold()
    shown = [entry for entry in entries if entry.name.startswith(".") == name.startswith(".")]
    found = [entry for entry in shown if wanted in entry.name.casefold()]
    return sorted(found, key=lambda entry: not entry.name.casefold().startswith(wanted))  # stable


def entries_of(typed: str) -> list[PathEntry]:
    """The folders and files that the typed path may go on to. Asks the disk."""
    folder, name = split_path(typed)
    if typed == "~":
        return [PathEntry("~/", "~/", None)]
    return going_on(folder_entries(folder, name), name)
