"""Deleting, undoable at first and then for good: from the tables, the index, the log and the backups.

What is deleted for good is noted in `deletions` until nothing of it is left in any file, so that what a
program left half done is done the next time, from the stage that was reached. All of it goes in small steps
with pauses between them: another chat that writes meanwhile waits for one step at most. Only writing a large
file anew takes long (300 MB: 7 s, 2026-11), and waits for a moment when nobody wants to write.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial

from llama_chat.sessions.backups import erase_from_backups
from llama_chat.sessions.database import Database
from llama_chat.sessions.holding import is_held_by_others

KEPT_S = 30 * 24 * 3600.0
"""How long a deleted session can be brought back."""
QUICK_TO_REWRITE_BYTES = 16_000_000
"""At 100 MB/s, the write lock is held for 0.16 s (2026-11, two busy cores)."""
_DAY_S = 24 * 3600.0
_STEP_S = 0.05
_PAUSE_S = 0.05
"""Between two steps: SQLite, waiting for the lock, asks for it every 25 to 50 ms."""
_LOG_PATIENCE_S = 2.0
_MERGED_PAGES = 250
"""Of the index in one step: 40 to 90 ms of writing (200,000 messages, 2026-11)."""


class Stage(IntEnum):
    """What is done of a deletion for good; its row goes when backups are done, too."""

    BEGUN = 0
    ROWS_GONE = 1
    REWRITTEN = 2


def deletions(connection: sqlite3.Connection) -> list[str]:
    """The sessions that are being deleted for good."""
    return [row[0] for row in connection.execute("SELECT session_id FROM deletions").fetchall()]


def begin_deletion(connection: sqlite3.Connection, session_id: str, now: float) -> bool:
    """Note that the session is to go for good and take it out of every list; False: there is none."""
    updated = connection.execute(
        "UPDATE sessions SET deleted_at = coalesce(deleted_at, ?) WHERE id = ?", (now, session_id)
    ).rowcount
    if updated:
        connection.execute(
            "INSERT INTO deletions (session_id) VALUES (?) ON CONFLICT DO NOTHING", (session_id,)
        )
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


def erase(database: Database, most_rewritten_bytes: int | None) -> bool:
    """Delete for good what `deletions` names; False when a file still keeps something of it.

    Args:
        database: open.
        most_rewritten_bytes: a larger file is not written anew this time; None: one of any size is. One that
            takes its time is left as it is, too, while another program has it open.

    Raises:
        StoreError: the store cannot be written; what is left is done the next time.
    """
    with database.reading() as connection:
        stages = dict(connection.execute("SELECT session_id, stage FROM deletions").fetchall())
    if not stages:
        return True
    doomed = list(stages)
    if begun := [session_id for session_id in doomed if stages[session_id] < Stage.ROWS_GONE]:
        for session_id in begun:
            _in_steps(database, partial(_delete_newest, session_id=session_id))
        _forget_words(database)
        _note_stage(database, doomed, Stage.ROWS_GONE)
    if begun or min(stages.values()) < Stage.REWRITTEN:
        if not _may_rewrite(database, most_rewritten_bytes):
            database.empty_log(_LOG_PATIENCE_S)
            erase_from_backups(database.path, doomed)
            return False
        database.rewrite()
        _note_stage(database, doomed, Stage.REWRITTEN)
    is_log_empty = database.empty_log(_LOG_PATIENCE_S)
    if not erase_from_backups(database.path, doomed) or not is_log_empty:
        return False
    with database.transaction(full=True) as connection:
        connection.executemany("DELETE FROM deletions WHERE session_id = ?", _rows(doomed))
    return True


def _may_rewrite(database: Database, most_bytes: int | None) -> bool:
    size_bytes = database.size_bytes()
    if most_bytes is not None and size_bytes > most_bytes:
        return False
    return size_bytes <= QUICK_TO_REWRITE_BYTES or database.is_alone()


def _note_stage(database: Database, session_ids: Sequence[str], stage: Stage) -> None:
    with database.transaction(full=True) as connection:
        connection.executemany(
            "UPDATE deletions SET stage = ? WHERE session_id = ?", [(stage, each) for each in session_ids]
        )


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
