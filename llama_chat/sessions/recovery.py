"""A damaged store is set aside, and what can be read of it goes into a new one.

Nothing is lost: the damaged file stays beside the new one for 30 days, byte by byte as it was found. Rows are
read on from behind the damage; what hung on lost rows is hung up anew, so that every message that can be read
is in some session. Only what was being deleted for good stays out.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from llama_chat.sessions.archive import unpack_archive
from llama_chat.sessions.failures import UNREADABLE
from llama_chat.sessions.header import mend_header
from llama_chat.sessions.leaf_pages import leaf_rows, shape_of
from llama_chat.sessions.migrations import migrate
from llama_chat.sessions.packing import unpack_candidates
from llama_chat.sessions.records import ids_from, plan_from, sampling_from
from llama_chat.sessions.recovery_journal import (
    FOLDER_PREFIX,
    SUFFIXES,
    Recovered,
    forget_attempts,
    replace_by,
)
from llama_chat.sessions.vocabularies import check_vocabulary

Row = tuple[Any, ...]
MOST_DAMAGES = 10_000
"""In one table: what lies behind so many is given up, for a page of nonsense may promise rows without end."""


def recover(path: Path) -> Recovered:
    """Set the damaged store aside and build a new one out of what can be read.

    Raises:
        OSError: the disk does not take it; the damaged file is where it was.
        sqlite3.Error: the new one cannot be written; the same.
    """
    forget_attempts(path)
    damaged = _free_name(path)
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=path.parent) as folder:
        copy, fresh = Path(folder) / path.name, Path(folder) / "new"
        for suffix in SUFFIXES[:2]:  # -shm is an index of -wal, made anew
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        fresh.touch(mode=0o600)
        copy.touch()
        page_bytes = mend_header(copy)
        with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
            migrate(target, fresh)
            target.execute("PRAGMA foreign_keys = OFF")
            target.execute("BEGIN")
            doomed = _read_over(copy, target)
            _read_leaves(copy, page_bytes, target, doomed)
            (without_record,) = target.execute(_WITHOUT_RECORD).fetchone()
            _hang_up_anew(target)
            target.execute("COMMIT")
            counts = [target.execute(sql).fetchone()[0] for sql in _COUNTS]
        sessions, messages, missing, without_tokens = counts
        recovered = Recovered(damaged, sessions, messages, without_tokens + without_record, missing)
        replace_by(path, fresh, recovered)
    return recovered


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    more = ("", *(f"-{n}" for n in range(2, 100)))
    names = (path.with_name(f"{path.name}.damaged-{stamp}{end}") for end in more)
    return next(name for name in names if not name.exists())


# --- reading ------------------------------------------------------------------------------------------


def _read_over(source: Path, target: sqlite3.Connection) -> set[str]:
    """Put every row that can be read and makes sense into the tables of the target.

    Returns:
        The sessions of which nothing may stay.
    """
    doomed: set[str] = set()
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.text_factory = _decode
        connection.execute("PRAGMA writable_schema = ON")  # else a file that was cut is not read at all
        connection.execute("PRAGMA cell_size_check = ON")  # else a damaged page may give any row
        for table in _TABLES:
            columns = _common_columns(connection, target, table)
            if not columns:
                continue
            for row in _readable(connection, table, columns):
                _put(target, table, dict(zip(columns, row, strict=True)), doomed)
    return doomed


def _read_leaves(source: Path, page_bytes: int, target: sqlite3.Connection, doomed: set[str]) -> None:
    """Add the rows to which SQLite did not find: below a damaged page, or without a readable schema.

    `deletions` is not among them: its rows look like those of indexes. A session that was being deleted
    for good when the schema was lost is among the deleted ones again, from which it goes in its time.
    """
    tables = [table for table in _TABLES if table != "deletions"]
    shapes = [shape_of(target, table, is_by_key=table in _WITHOUT_ROWID) for table in tables]
    for table, values in leaf_rows(source, page_bytes, shapes):
        keys = _KEYS[table]
        where = " AND ".join(f"{key} = ?" for key in keys)
        is_there = f"SELECT 1 FROM {table} WHERE {where}"
        if not target.execute(is_there, [values[key] for key in keys]).fetchone():
            _put(target, table, values, doomed)


def _put(target: sqlite3.Connection, table: str, values: dict[str, Any], doomed: set[str]) -> None:
    """Put the row in, if it makes sense and may stay."""
    with contextlib.suppress(sqlite3.Error, *UNREADABLE):
        _TABLES[table](values)
        if table == "deletions":
            doomed.add(values["session_id"])
        elif values.get(_SESSION_COLUMNS.get(table, "")) in doomed:
            return
        places = ", ".join("?" * len(values))
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(values)}) VALUES ({places})"
        target.execute(insert, list(values.values()))


def _common_columns(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> list[str]:
    """The columns that the damaged file has, too; none where its schema cannot be read."""
    try:
        there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except sqlite3.Error:
        return []
    return [row[1] for row in target.execute(f"PRAGMA table_info({table})") if row[1] in there]


def _readable(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows that can be read: from the first one on, and behind every damage again."""
    if key := _WITHOUT_ROWID.get(table):  # from both ends, and what comes twice is ignored
        for order in ("ASC", "DESC"):
            by = ", ".join(f"{column} {order}" for column in key)
            rows = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {by}"
            yield from _until_damage(connection, rows, ())
        return
    sql = f"SELECT rowid, {', '.join(columns)} FROM {table} WHERE rowid > ? AND rowid < ? ORDER BY rowid "
    last = _last_rowid(connection, table)
    at = -1
    for _ in range(MOST_DAMAGES):
        for row in _until_damage(connection, f"{sql} ASC", (at, last + 1)):
            if row[0] <= at:  # out of order: not what was written
                break
            at = row[0]
            yield row[1:]
        if at >= last:
            return
        # A damage: find where reading works again, and take what lies right before that, too.
        below = behind = _behind_damage(connection, sql, at, last)
        for row in _until_damage(connection, f"{sql} DESC", (at, behind)):
            if not at < row[0] < below:
                break
            below = row[0]
            yield row[1:]
        at = max(at + 1, behind - 1)


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _last_rowid(connection: sqlite3.Connection, table: str) -> int:
    found = next(_until_damage(connection, f"SELECT rowid FROM {table} ORDER BY rowid DESC", ()), None)
    return found[0] if found else 2**40  # the last page is damaged: as good as any that is never reached


def _behind_damage(connection: sqlite3.Connection, sql: str, at: int, last: int) -> int:
    """The first of the probed rowids from which on a row can be read; `last + 1` where there is none."""
    step = 1
    while at + step <= last:
        if next(_until_damage(connection, f"{sql} ASC LIMIT 1", (at + step - 1, last + 1)), None):
            return at + step
        step *= 2
    return last + 1


def _until_damage(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> Iterator[Row]:
    with contextlib.suppress(sqlite3.Error):
        yield from connection.execute(sql, values)


# --- what a row must be ---------------------------------------------------------------------------------


def _is_text(values: dict[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(values[name], str):
            raise TypeError(name)


def _is_number(values: dict[str, Any], *names: str) -> None:
    for name in names:
        values[name] = float(values[name])


def _check_deletion(values: dict[str, Any]) -> None:
    _is_text(values, "session_id")
    if "stage" in values:
        values["stage"] = 0  # the backups may still hold it


def _check_model(values: dict[str, Any]) -> None:
    _is_text(values, "name", "fingerprint", "engine", "device", "dtype", "template")


def _check_session(values: dict[str, Any]) -> None:
    _is_text(values, "id", "title", "model", "date")
    _is_number(values, "created_at", "updated_at")
    date.fromisoformat(values["date"])


def _check_message(values: dict[str, Any]) -> None:
    _is_text(values, "id", "session_id", "text")
    _is_number(values, "created_at")


def _check_reply(values: dict[str, Any]) -> None:
    sampling_from(values["sampling"])
    ids_from(values["token_ids"])
    int(values["seed"])
    _is_number(values, "prefill_s", "decode_s")
    try:
        plan = plan_from(values["plan"])
        len(plan.forwards if plan is not None else ())  # they are read only when they are asked for
    except UNREADABLE:
        values["plan"] = None  # the reply can still be shown


def _check_change(values: dict[str, Any]) -> None:
    sampling_from(values["sampling"])


def _check_token(values: dict[str, Any]) -> None:
    _is_text(values, "message_id", "text")
    unpack_candidates(values["candidates"])


def _check_archive(values: dict[str, Any]) -> None:
    unpack_archive(values["packed"], [(0, sampling_from("{}"))], with_candidates=False)


def _check_vocabulary(values: dict[str, Any]) -> None:
    check_vocabulary(values["digest"], values["packed"])


_TABLES: dict[str, Callable[[dict[str, Any]], None]] = {
    "deletions": _check_deletion,  # first: what it names is left out of all the others
    "models": _check_model,
    "sessions": _check_session,
    "messages": _check_message,
    "replies": _check_reply,
    "sampling_changes": _check_change,
    "tokens": _check_token,
    "token_archives": _check_archive,
    "vocabularies": _check_vocabulary,
}


_WITHOUT_ROWID = {"deletions": ("session_id",), "sampling_changes": ("message_id", "place")}
"""Their keys; the rows of all other tables have numbers."""
_KEYS = {
    **{"models": ("id",), "sessions": ("id",), "messages": ("id",), "replies": ("message_id",)},
    **{"sampling_changes": ("message_id", "place"), "tokens": ("message_id", "place")},
    **{"token_archives": ("message_id",), "vocabularies": ("digest",)},
}
_SESSION_COLUMNS = {"sessions": "id", "messages": "session_id"}
"""Which column names the session; what hangs on a message goes with it."""


# --- hanging up anew --------------------------------------------------------------------------------------


def _hang_up_anew(target: sqlite3.Connection) -> None:
    """Give every message a session and a parent, and let nothing point where nothing is."""
    for statement in _MENDS:
        target.execute(statement)


_MENDS = (
    # Messages whose session is lost come back under its id, with a name that says so.
    """INSERT INTO sessions (id, title, created_at, updated_at, touched, date, model)
        SELECT session_id, 'Recovered: ' || substr((SELECT text FROM messages first WHERE
            first.session_id = m.session_id ORDER BY role != 'user', seq LIMIT 1), 1, 50),
        min(created_at), max(created_at), 0, date(min(created_at), 'unixepoch'), ''
        FROM messages m WHERE session_id NOT IN (SELECT id FROM sessions) GROUP BY session_id""",
    # A lost parent: below whatever was written last before, so that the talk stays one.
    """UPDATE messages SET parent_id = (SELECT id FROM messages before WHERE
            before.session_id = messages.session_id AND before.seq < messages.seq ORDER BY seq DESC LIMIT 1)
        WHERE parent_id IS NOT NULL AND (parent_id NOT IN (SELECT id FROM messages) OR seq <=
            (SELECT seq FROM messages above WHERE above.id = messages.parent_id) OR session_id !=
            (SELECT session_id FROM messages above WHERE above.id = messages.parent_id))""",
    "DELETE FROM replies WHERE message_id NOT IN (SELECT id FROM messages)",
    *(
        f"DELETE FROM {table} WHERE message_id NOT IN (SELECT message_id FROM replies)"
        for table in ("sampling_changes", "tokens", "token_archives")
    ),
    "UPDATE replies SET model_id = NULL WHERE model_id NOT IN (SELECT id FROM models)",
    "UPDATE sessions SET model_id = NULL WHERE model_id NOT IN (SELECT id FROM models)",
    """UPDATE sessions SET leaf_id = (SELECT id FROM messages WHERE session_id = sessions.id
            ORDER BY seq DESC LIMIT 1)
        WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = leaf_id AND session_id = sessions.id)""",
    "UPDATE sessions SET message_count = (SELECT count(*) FROM messages WHERE session_id = sessions.id)",
)


# --- what is told -----------------------------------------------------------------------------------------

_KEPT_OF_REPLY = "SELECT message_id FROM token_archives UNION SELECT message_id FROM tokens"
_WITHOUT_RECORD = f"""SELECT count(*) FROM messages WHERE id IN ({_KEPT_OF_REPLY})
    AND id NOT IN (SELECT message_id FROM replies)"""
"""Replies whose tokens were read in vain: what they were drawn with is lost."""
_COUNTS = (
    "SELECT count(*) FROM sessions",
    "SELECT count(*) FROM messages",
    "SELECT coalesce(max(seq), 0) - count(*) FROM messages",
    f"SELECT count(*) FROM replies WHERE length(token_ids) > 0 AND message_id NOT IN ({_KEPT_OF_REPLY})",
)
"""Sessions, messages, numbers of messages that are missing, replies without their tokens."""
