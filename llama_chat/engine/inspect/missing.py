"""What is missing of a model, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llama_chat.engine.files.checkpoint import listed, shown
from llama_chat.engine.inspect.grouping import FileGroup, missing_beside
from llama_chat.engine.inspect.listing import Part


def missing_notices(group: FileGroup, part: Part | None = None) -> list[str]:
    """A notice where files of the model are not there, or tensors are not where an index looks for them.

    Args:
        group: the files that belong together.
        part: what was read of them.
    """
    if group.index is None:
        assert part is not None  # without an index, it is the files that make a group
        missing = missing_beside([*group.files, *group.unread], part.file_count)
        where = group.files[0].absolute().parent.name
        return _missing(where, missing, part.file_count, part.files) if missing else []
    files = part.files if part else ()
    if group.missing:
        return _missing(group.index.name, group.missing, group.count, files)
    have = {(row.name, row.file) for row in part.tensors} if part else set()
    read = {path.name for path in files}
    lost = [name for name, file in group.file_of.items() if file in read and (name, file) not in have]
    return [f"{group.index.name}: names tensors that are not where it says: {listed(lost)}"] if lost else []


def _missing(where: str, missing: Sequence[str], count: int, read: Sequence[Path]) -> list[str]:
    are = "is" if len(missing) == 1 else "are"
    totals = f"the totals are those of {len(read)} of the model's {count} files"
    whole = totals if read else f"the model has {count} files"
    return [f"{shown(where)}: {listed(missing)} {are} missing; {whole}."]
