"""Which files belong together, by their names and by the indexes beside them, and which are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llama_chat.part_names import missing_parts, missing_shards, part_name, shard_number


@dataclass(frozen=True, slots=True)
class FileGroup:
    """One file, or the files that one model is split over."""

    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    """Names of files that belong to them and are not there."""
    index: Path | None = None
    """What says so, where it is not their own names."""
    file_of: Mapping[str, str] = field(default_factory=dict)
    """The index's tensors, and in which file each is to be."""
    unread: tuple[Path, ...] = ()
    """Files of theirs that cannot be read."""

    @property
    def count(self) -> int:
        """Files that there should be."""
        return len(self.files) + len(self.missing) + len(self.unread)


def indexed_group(index: Path, file_of: Mapping[str, str], paths: Iterable[Path]) -> FileGroup:
    """The files that an index names.

    Args:
        index: its path.
        file_of: what it says: which file has which tensor.
        paths: of the files that are there.
    """
    wanted = set(file_of.values())
    files = sorted(path for path in paths if path.parent == index.parent and path.name in wanted)
    missing = sorted(wanted - {path.name for path in files})
    return FileGroup(tuple(files), tuple(missing), index, file_of)


def group_files(paths: Iterable[Path]) -> list[FileGroup]:
    """The files, those that one model is split over together, in the order of their numbers."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        groups.setdefault((path.parent, _common(path.name)), []).append(path)
    return [FileGroup(tuple(files), tuple(missing_beside(files))) for files in groups.values()]


def alone(path: Path) -> FileGroup:
    """The one file, though it may be one of several."""
    part = part_name(path.name)
    others = [part.sibling(n) for n in range(1, part.count + 1) if n != part.number] if part else []
    return FileGroup((path,), tuple(others))


def missing_beside(files: Sequence[Path], count: int = 0) -> list[str]:
    """Names of files that belong to these and are not among them.

    Args:
        files: of one model.
        count: how many there are, where anybody knows more than the names tell.
    """
    names = [file.name for file in files]
    return missing_parts(names) if shard_number(names[0]) is None else missing_shards(names, count)


def _common(name: str) -> str:
    """What the names of the files of one model have in common."""
    if shard_number(name) is not None:
        return "consolidated/pth"
    part = part_name(name)
    return f"{part.stem}/{part.count}/{part.ending}" if part else name
