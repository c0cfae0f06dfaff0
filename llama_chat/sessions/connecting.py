"""What a connection to the file is like, and the first questions that are asked through it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from llama_chat.sessions.migrations import MIGRATIONS


def connect(path: Path, address: str, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection that any thread may close.

    Args:
        path: the file.
        address: one of `read_only_addresses`; empty to write, too.
        busy_timeout_s: how long a call waits for another program's lock.
    """
    # close() runs on whichever thread ends the program, so the check for one thread is off; each connection
    # is still used by one thread only.
    if address:
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    else:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.text_factory = _decode
    set_busy_timeout(connection, busy_timeout_s)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only let go
    return connection


def read_only_addresses(path: Path) -> list[str]:
    """What SQLite is told, one after the other, so that it changes nothing in the file."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size > 0:
        return [address]
    # Without a log there is nothing that another program has to share; SQLite wants to make one all the
    # same, which a read-only disk refuses.
    return [address, f"{address}&immutable=1"]


def set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    """Let the calls through it wait no longer than this for another program's lock."""
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def look_into(connection: sqlite3.Connection) -> None:
    """Find out now, not at the first message, that a table cannot be read."""
    for table in ("sessions", "messages", "replies"):
        connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone()


def try_to_write(connection: sqlite3.Connection) -> None:
    """Find out now, not at the first message, that the disk is read-only; a lock will pass."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        # On a read-only file BEGIN alone would pass. Nothing of this reaches the disk.
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def enter_wal(connection: sqlite3.Connection, *, deadline: float) -> None:
    """Switch to the write-ahead log, for good; SQLite does not wait by itself when two do so at once."""
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # damaged: the rest of it can be read
        return raw.decode("utf-8", "replace")
