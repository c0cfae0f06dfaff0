"""Deleting, undoable at first and then for good: from the tables, the index, the log and the backups.

What is deleted for good is noted in `deletions` until nothing of it is left in any file, so that what a
program left half done is done the next time. All of it goes in small steps with pauses between them: another
chat that writes meanwhile waits for one step at most. Only writing a large file anew takes long, and waits
for a time when nobody else has the store open.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial

from llama_chat.sessions.backups import erase_from_backups
from llama_chat.sessions.database import Database
from llama_chat.sessions.holding import is_held_by_others

KEPT_S = 30 * 24 * 3600.0
"""How long a deleted session can be brought back."""
_DAY_S = 24 * 3600.0
_STEP_S = 0.05
_PAUSE_S = 0.05
"""Between two steps: SQLite, waiting for the lock, asks for it every 25 to 50 ms."""
_LOG_PATIENCE_S = 2.0
_MERGED_PAGES = 250
"""Of the index in one step: 40 to 90 ms of writing (200,000 messages, 2026-11)."""


def deletions(connection: sqlite3.Connection) -> list[str]:
    """The sessions that are being deleted for good."""
    return [row[0] for row in connection.execute("SELECT session_id FROM deletions").fetchall()]


def begin_deletion(connection: sqlite3.Connection, session_id: str, now: float) -> bool:
    """Note that the session is to go for good and take it out of every list; False: there is none."""
    updated = connection.execute(
        "UPDATE sessions SET deleted_at = coalesce(deleted_at, ?) WHERE id = ?", (now, session_id)
    ).rowcount
    if updated:
        connection.execute("INSERT INTO deletions VALUES (?) ON CONFLICT DO NOTHING", (session_id,))
    return updated > 0


def expired(connection: sqlite3.Connection, now: float) -> list[str]:
    """The sessions that were deleted too long ago to be brought back and that no other chat has open."""
    rows = connection.execute(
        "SELECT id FROM sessions WHERE deleted_at <= ? AND id NOT IN (SELECT session_id FROM deletions)",
        (now - KEPT_S,),
    ).fetchall()
    return [session_id for (session_id,) in rows if not is_held_by_others(connection, session_id)]


def has_future(connection: sqlite3.Connection, now: float) -> bool:
    """Whether a session was deleted tomorrow or later: the clock was wrong then, or is now."""
    return (
        connection.execute(f"SELECT 1 FROM sessions WHERE {_FUTURE}", (now + _DAY_S,)).fetchone() is not None
    )


def bring_back_to_today(connection: sqlite3.Connection, now: float) -> None:
    """Let the time of sessions that were deleted in the future begin today."""
    connection.execute(f"UPDATE sessions SET deleted_at = ? WHERE {_FUTURE}", (now, now + _DAY_S))


_FUTURE = "deleted_at > ?"


def erase(database: Database) -> bool:
    """Delete for good what `deletions` names; False when another chat or a file keeps something of it.

    Raises:
        StoreError: the store cannot be written; what is left is done the next time.
    """
    with database.reading() as connection:
        doomed = deletions(connection)
    if not doomed:
        return True
    for session_id in doomed:
        _in_steps(database, partial(_delete_newest, session_id=session_id))
    _forget_words(database)
    is_rewritten = database.rewrite()
    is_log_empty = database.empty_log(_LOG_PATIENCE_S)
    if not erase_from_backups(database.path, doomed) or not is_rewritten or not is_log_empty:
        return False
    with database.transaction(full=True) as connection:
        connection.executemany("DELETE FROM deletions WHERE session_id = ?", _rows(doomed))
    return True


def _delete_newest(connection: sqlite3.Connection, session_id: str) -> bool:
    """Whether a message was left to delete; without one the session itself goes.

    Children are newer than their parents, so no step takes a whole tree with it.
    """
    deleted = connection.execute(
        "DELETE FROM messages WHERE seq = (SELECT max(seq) FROM messages WHERE session_id = ?)", (session_id,)
    ).rowcount
    if deleted <= 0:
        connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    return deleted > 0


def _forget_words(database: Database) -> None:
    """Merge the index to one piece: until then it holds the words of what was deleted, twice over."""
    with database.transaction(full=False) as connection:
        _merge(connection, -1)  # a negative number: all pieces, not only those of like size
    time.sleep(_PAUSE_S)
    _in_steps(database, lambda connection: _merge(connection, _MERGED_PAGES), step_s=0.0)


def _merge(connection: sqlite3.Connection, pages: int) -> bool:
    before = connection.total_changes
    connection.execute("INSERT INTO message_words (message_words, rank) VALUES ('merge', ?)", (pages,))
    return connection.total_changes - before >= 2  # FTS5: fewer say that there was nothing to do


def _in_steps(
    database: Database, work: Callable[[sqlite3.Connection], bool], *, step_s: float = _STEP_S
) -> None:
    """Repeat the work until it says that nothing is left, in transactions of about this length."""
    is_left = True
    while is_left:
        begin_s = time.monotonic()
        with database.transaction(full=False) as connection:
            is_left = work(connection)
            while is_left and time.monotonic() - begin_s < step_s:
                is_left = work(connection)
        time.sleep(_PAUSE_S)


def _rows(values: Sequence[str]) -> list[tuple[str]]:
    return [(value,) for value in values]
