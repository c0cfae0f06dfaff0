"""The copies that migrations leave beside the store: they forget what the store forgets, and expire."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

_DAY_S = 24 * 3600.0


def backups_of(path: Path) -> list[Path]:
    """The copies beside the store, unfinished ones too."""
    return sorted(
        [*path.parent.glob(f"{path.name}.*.backup"), *path.parent.glob(f"{path.name}.*.backup.part")]
    )


def expire_backups(path: Path, *, now: float, kept_s: float) -> None:
    """Remove the copies that are older, and unfinished ones after a day.

    One that is dated tomorrow or later begins to age today.

    Raises:
        OSError: a file cannot be removed.
    """
    for backup in backups_of(path):
        with contextlib.suppress(FileNotFoundError):  # another process may do the same
            made_at = backup.stat().st_mtime
            if made_at < now - (_DAY_S if backup.suffix == ".part" else kept_s):
                backup.unlink()
            elif made_at > now + _DAY_S:
                os.utime(backup, (now, now))


def erase_from_backups(path: Path, session_ids: Sequence[str]) -> bool:
    """Delete the sessions in every copy for good; False when there is one that cannot be changed."""
    outcomes = [_erase(backup, session_ids) for backup in backups_of(path)]  # each, whatever the others gave
    return all(outcomes)


def _erase(backup: Path, session_ids: Iterable[str]) -> bool:
    address = f"{backup.absolute().as_uri()}?mode=rw"
    try:
        changed_at = backup.stat().st_mtime
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as copy:
            if not _delete(copy, session_ids) and not _has_free_pages(copy):
                return True
            copy.execute("VACUUM")
        os.utime(backup, (changed_at, changed_at))  # it expires by its age
    except (sqlite3.Error, OSError):
        return False
    return True


def _has_free_pages(copy: sqlite3.Connection) -> bool:
    """Whether somebody deleted and was ended before it was written anew."""
    return bool(copy.execute("PRAGMA freelist_count").fetchone()[0])


def _delete(copy: sqlite3.Connection, session_ids: Iterable[str]) -> bool:
    copy.execute("PRAGMA secure_delete = ON")
    copy.execute("PRAGMA foreign_keys = ON")
    copy.execute("BEGIN IMMEDIATE")
    deleted = copy.executemany("DELETE FROM sessions WHERE id = ?", [(i,) for i in session_ids]).rowcount
    has_index = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_words'").fetchone()
    if deleted > 0 and has_index:
        copy.execute("INSERT INTO message_words (message_words) VALUES ('rebuild')")
    copy.execute("COMMIT")
    return deleted > 0
