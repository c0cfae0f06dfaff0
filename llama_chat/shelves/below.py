"""Models below a folder, found by the names of files: bounded, whatever the folder is and links to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llama_chat.hub.choice import Choice, gguf_groups
from llama_chat.shelves.facts import folder_choice

MOST_FOLDERS = 2000
MOST_ENTRIES = 50_000
DEPTH = 4


@dataclass(frozen=True, slots=True)
class Below:
    """One model below the folder."""

    path: Path
    """A GGUF file, the first of its parts, or a folder."""
    name: str
    """The path from the folder on, with `/`."""
    size_bytes: int
    problem: str = ""


def models_below(root: Path, *, depth: int = DEPTH) -> Iterator[Below]:
    """The models in the folder and in those below it, by name; hidden ones are left out.

    Links are followed, but no folder is looked into twice. A folder that may not be read is told as a
    model with a problem.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(root, 0)]
    entries_left = MOST_ENTRIES
    while waiting and len(seen) < MOST_FOLDERS and entries_left > 0:
        folder, level = waiting.pop()
        try:
            place = folder.stat()
            if (place.st_dev, place.st_ino) in seen:
                continue
            seen.add((place.st_dev, place.st_ino))
            files, folders = _look_into(folder, entries_left)
        except OSError as error:
            if folder != root or folder.exists():
                yield Below(folder, _name(folder, root), 0, f"cannot be read: {error.strerror or error}")
            continue
        entries_left -= len(files) + len(folders)
        yield from _models_in(folder, root, files)
        if level < depth:
            waiting += [(folder / name, level + 1) for name in sorted(folders, reverse=True)]


def _look_into(folder: Path, most: int) -> tuple[dict[str, int], list[str]]:
    """Files with their sizes, and folders; links to nothing are neither."""
    files: dict[str, int] = {}
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= most:
                break
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():
                    files[entry.name] = entry.stat().st_size
            except OSError:
                continue
    return files, folders


def _models_in(folder: Path, root: Path, files: dict[str, int]) -> Iterator[Below]:
    groups = gguf_groups(files)
    choice = folder_choice(files)
    if choice is not None:
        yield Below(folder, _name(folder, root), _size(choice, files), _missing(choice))
    is_alone = len(groups) == 1 and choice is None and folder != root
    for group in groups:
        path = folder / group.weights[0]
        yield Below(path, _name(folder if is_alone else path, root), _size(group, files), _missing(group))


def _size(choice: Choice, files: dict[str, int]) -> int:
    return sum(files[name] for name in choice.names)


def _missing(choice: Choice) -> str:
    missing = len(choice.missing)
    return (
        ""
        if not missing
        else f"{choice.missing[0]} is missing"
        if missing == 1
        else f"{missing} files are missing"
    )


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else root.name
