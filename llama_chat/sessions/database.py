"""The SQLite file: opened safely, private to its owner, with one connection for each thread that asks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from llama_chat.errors import StoreError
from llama_chat.paths import make_private_folder
from llama_chat.sessions.failures import StoreDamaged, explain, explain_damage, explain_os
from llama_chat.sessions.in_use import InUse
from llama_chat.sessions.migrations import MIGRATIONS, check_version, migrate

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for another program's lock, unless its thread asked for less."""
_PAUSE_S = 0.02
_QUICK_TO_REWRITE_BYTES = 16_000_000
"""At 100 MB/s, the write lock is held for 0.16 s (2026-11, two busy cores)."""


class Database:
    """Connections and transactions over one file; every failure comes out as a `StoreError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._is_open = False
        self._why_closed: StoreError | None = None
        self._in_use = InUse(path)
        self._damage_mark = path.with_name(f"{path.name}.is-damaged")
        self.notices: tuple[str, ...] = ()
        """What the user should hear about the opening."""

    def open(self) -> None:
        """Make the folder and the file if need be, bring the tables up to date.

        A damaged file is set aside first, and what can be read of it recovered.

        Raises:
            StoreError: it cannot be written, is no store or is from a newer version; or it is damaged, and
                another program has it open.
        """
        self.notices = ()
        try:
            self._open()
        except StoreDamaged as damage:
            self._recover(damage)
            self._open()

    def _recover(self, damage: StoreDamaged) -> None:
        from llama_chat.sessions.recovery import recover

        with self._explained(), self._in_use.alone() as is_alone:
            if not is_alone:
                raise damage
            recovered = recover(self.path)
            self._damage_mark.unlink(missing_ok=True)
        self.notices = (recovered.notice(self.path),)

    def _open(self) -> None:
        self._prepare_file()
        if self._damage_mark.exists():  # it was found while it was in use
            raise explain_damage("it was found damaged when it was last used", self.path)
        self._is_open = True
        try:
            with self._explained():
                connection = self.connection()
                check_version(connection, self.path, latest=len(MIGRATIONS))
                self._in_use.enter()
                self._make_private()
                _enter_wal(connection, deadline=time.monotonic() + BUSY_TIMEOUT_S)
                migrate(connection, self.path)
                _look_into(connection)
                self._try_to_write(connection)
        except BaseException as error:
            self.close()
            self._why_closed = error if isinstance(error, StoreError) else None
            raise

    def close(self) -> None:
        """Close the connections of all threads; safe to call twice."""
        self._is_open, self._why_closed = False, None
        with self._lock:
            connections, self._connections = self._connections, []
            self._local = threading.local()
        for connection in connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        self._in_use.leave()

    def wait_at_most(self, seconds: float) -> None:
        """Let the calls of this thread wait no longer than this for another program's lock."""
        self._local.busy_timeout_s = seconds
        if existing := getattr(self._local, "connection", None):
            _set_busy_timeout(existing, seconds)

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Let this thread's calls give up at once where another program holds the lock."""
        usual = getattr(self._local, "busy_timeout_s", BUSY_TIMEOUT_S)
        self.wait_at_most(0.0)
        try:
            yield
        finally:
            self.wait_at_most(usual)

    def connection(self) -> sqlite3.Connection:
        """This thread's connection.

        Raises:
            StoreError: the store is not open; says why it could not be opened.
        """
        if not self._is_open:
            if why := self._why_closed:
                raise type(why)(why.message, hint=why.hint) from why
            raise StoreError(f"{self.path} is not open.")
        existing: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if existing is not None:
            return existing
        with self._lock:
            self._local.connection = connection = self._connect()
            self._connections.append(connection)
        return connection

    @contextlib.contextmanager
    def transaction(self, *, full: bool) -> Iterator[sqlite3.Connection]:
        """A write that happens as a whole or not at all.

        Args:
            full: it must outlive a loss of power; otherwise the death of the process only, which is
                17 times faster (0.013 against 0.23 ms a commit, measured 2026-11).
        """
        with self._explained():
            connection = self.connection()
            connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view: what others commit meanwhile is not seen."""
        with self._explained():
            connection = self.connection()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def empty_log(self, patience_s: float) -> bool:
        """Empty the write-ahead log into the file; False when others read from it all the time."""
        deadline = time.monotonic() + patience_s
        with self._explained():
            connection = self.connection()
            while True:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # locks nobody out, unlike what follows
                with self.without_waiting():
                    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not is_busy or time.monotonic() > deadline:
                    return not is_busy
                time.sleep(_PAUSE_S)

    def rewrite(self) -> bool:
        """Write the file anew, without gaps; False where that would lock another program out for long.

        `secure_delete` overwrites a row where it lies, not the copies of it that stay in the unused part of
        a page when SQLite moves rows to another one.
        """
        with self._explained():
            if self.path.stat().st_size <= _QUICK_TO_REWRITE_BYTES:
                self.connection().execute("VACUUM")
                return True
            try:
                with self._in_use.alone() as is_alone:
                    if is_alone:
                        self.connection().execute("VACUUM")
                    return is_alone
            finally:
                self._in_use.enter()

    def _connect(self) -> sqlite3.Connection:
        # close() runs on whichever thread ends the program, so the check for one thread is off; each
        # connection is still used by one thread only.
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.text_factory = _decode
        _set_busy_timeout(connection, getattr(self._local, "busy_timeout_s", BUSY_TIMEOUT_S))
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only let go
        return connection

    def _prepare_file(self) -> None:
        """Make sure of a file that its owner alone can read; SQLite gives -wal and -shm the same mode."""
        try:
            make_private_folder(self.path.parent)
            with contextlib.suppress(FileExistsError):
                # O_EXCL: opening and closing a file that SQLite has open would drop its locks.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise explain_os(error, self.path) from error

    def _try_to_write(self, connection: sqlite3.Connection) -> None:
        """Find out now, not at the first message, that the disk is read-only; a lock will pass."""
        with self.without_waiting():
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

    def _make_private(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").chmod(0o600)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            explained = explain(error, self.path)
            if isinstance(explained, StoreDamaged) and self._is_open:
                with contextlib.suppress(OSError):
                    self._damage_mark.touch(mode=0o600)
            raise explained from error
        except OSError as error:
            raise explain_os(error, self.path) from error


def storable(text: str) -> str | bytes:
    """The text for `CAST(? AS TEXT)`: as it is, or its bytes when it holds half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _look_into(connection: sqlite3.Connection) -> None:
    """Find out now, not at the first message, that a table cannot be read."""
    for table in ("sessions", "messages", "replies"):
        connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone()


def _set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _enter_wal(connection: sqlite3.Connection, *, deadline: float) -> None:
    """Switch to the write-ahead log, for good; SQLite does not wait by itself when two do so at once."""
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
