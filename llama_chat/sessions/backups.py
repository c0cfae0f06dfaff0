"""Copies beside the store: what migrations leave forgets what the store forgets, and all of them expire."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

_DAY_S = 24 * 3600.0
_PATIENCE_S = 5.0
"""How long a copy that another program has locked is waited for."""


def backups_of(path: Path) -> list[Path]:
    """The copies beside the store, unfinished ones too."""
    return sorted(
        [*path.parent.glob(f"{path.name}.*.backup"), *path.parent.glob(f"{path.name}.*.backup.part")]
    )


def damaged_stores(path: Path) -> list[Path]:
    """The stores that were set aside because they were damaged, with their logs."""
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def expire_backups(path: Path, *, now: float, kept_s: float) -> None:
    """Remove the copies that are older, damaged stores too, and unfinished ones after a day.

    One that is dated tomorrow or later begins to age today.

    Raises:
        OSError: a file cannot be removed.
    """
    for backup in [*backups_of(path), *damaged_stores(path)]:
        with contextlib.suppress(FileNotFoundError):  # another process may do the same
            made_at = backup.stat().st_mtime
            if made_at < now - (_DAY_S if backup.suffix == ".part" else kept_s):
                backup.unlink()
            elif made_at > now + _DAY_S:
                os.utime(backup, (now, now))


def erase_from_backups(path: Path, session_ids: Sequence[str]) -> bool:
    """Delete the sessions in every copy for good; False when there is one that cannot be changed.

    A copy that cannot be read goes as a whole: nobody could go back to it.
    """
    outcomes = [_erase(backup, session_ids) for backup in backups_of(path)]  # each, whatever the others gave
    return all(outcomes)


def _erase(backup: Path, session_ids: Sequence[str]) -> bool:
    address = f"{backup.absolute().as_uri()}?mode=rw"
    try:
        changed_at = backup.stat().st_mtime
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=_PATIENCE_S)) as copy:
            if not _delete(copy, session_ids) and not _has_free_pages(copy):
                return True
            copy.execute("VACUUM")
        os.utime(backup, (changed_at, changed_at))  # it expires by its age
        return True
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return False
    except OSError:
        return False
    return _remove(backup)


def _remove(backup: Path) -> bool:
    try:
        backup.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _has_free_pages(copy: sqlite3.Connection) -> bool:
    """Whether somebody deleted and was ended before it was written anew."""
    return bool(copy.execute("PRAGMA freelist_count").fetchone()[0])


def _delete(copy: sqlite3.Connection, session_ids: Sequence[str]) -> bool:
    """Whether one of the sessions was in it.

    Row by row and not by `ON DELETE CASCADE`: a reply is the child of its question, and SQLite follows no
    more than 1,000 generations.
    """
    if not _tables_with(copy, "session_id"):  # nothing was copied yet
        return False
    copy.execute("PRAGMA secure_delete = ON")
    copy.execute("PRAGMA foreign_keys = OFF")
    copy.execute("BEGIN IMMEDIATE")
    of_messages, of_sessions = _tables_with(copy, "message_id"), _tables_with(copy, "session_id")
    for session_id in session_ids:
        for table in of_messages:
            copy.execute(
                f"DELETE FROM {table} WHERE message_id IN (SELECT id FROM messages WHERE session_id = ?)",
                (session_id,),
            )
        for table in of_sessions:
            copy.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))
    deleted = copy.executemany("DELETE FROM sessions WHERE id = ?", [(i,) for i in session_ids]).rowcount
    has_index = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_words'").fetchone()
    if deleted > 0 and has_index:
        copy.execute("INSERT INTO message_words (message_words) VALUES ('rebuild')")
    copy.execute("COMMIT")
    return deleted > 0


def _tables_with(copy: sqlite3.Connection, column: str) -> list[str]:
    rows = copy.execute(
        "SELECT t.name FROM sqlite_master t, pragma_table_info(t.name) c "
        "WHERE t.type = 'table' AND c.name = ?",
        (column,),
    )
    return [name for (name,) in rows.fetchall()]
