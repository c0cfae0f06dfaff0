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
from llama_chat.sessions.connecting import (
    connect,
    enter_wal,
    look_into,
    read_only_addresses,
    set_busy_timeout,
    try_to_write,
)
from llama_chat.sessions.connections import Connections
from llama_chat.sessions.failures import (
    StoreDamaged,
    StoreUnavailable,
    explain,
    explain_damage,
    explain_in_the_way,
    explain_os,
)
from llama_chat.sessions.header import emptied_notice, has_log, header_damage, identity_of, is_empty
from llama_chat.sessions.in_use import InUse
from llama_chat.sessions.migrations import MIGRATIONS, check_version, migrate
from llama_chat.sessions.recovery_journal import finish, journal_of

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for another program's lock, unless its thread asked for less."""
CLOSING_PATIENCE_S = 2.0
"""How long closing waits for the calls of other threads, which it interrupts."""
_ALONE_PATIENCE_S = 1.0
"""How long a damaged store is not recovered while somebody has it open, who may just find the same."""
_PAUSE_S = 0.02


class Database:
    """Connections and transactions over one file; every failure comes out as a `StoreError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections = Connections(self._connect)
        self._is_open = False
        self._why_closed: StoreError | None = None
        self._read_only_address = ""
        self._in_use = InUse(path)
        self._looked_at = (0, 0)
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
        except StoreError:
            if not (what := header_damage(self.path)):
                raise
            self._recover(explain_damage(what, self.path))
            self._open()

    def open_for_reading(self) -> None:
        """Open what is there, though it or its folder cannot be written; nothing is made or changed.

        Raises:
            StoreError: it cannot be read, or only after a change: it is from an older version, or a program
                was ended in the middle of a write that the disk now does not let anybody finish.
        """
        self.notices = ()
        refusal: StoreUnavailable | None = None
        for address in read_only_addresses(self.path):
            self._read_only_address = address
            try:
                return self._open_for_reading()
            except StoreUnavailable as error:
                refusal = error
        assert refusal is not None
        raise refusal

    def _open_for_reading(self) -> None:
        with self._opening():
            self._connections.open()
            with self._calling() as connection:
                version = check_version(connection, self.path, latest=len(MIGRATIONS))
                if version < len(MIGRATIONS):
                    raise StoreUnavailable(
                        f"{self.path} is of an older llama-chat, and it cannot be brought up to date.",
                        hint="Let it be written, or copy it to where it can be and set LLAMA_CHAT_HOME.",
                    )
                look_into(connection)

    def _recover(self, damage: StoreDamaged) -> None:
        """Set the file aside and recover what can be read, unless another process was quicker."""
        from llama_chat.sessions.recovery import recover

        deadline = time.monotonic() + _ALONE_PATIENCE_S
        while True:
            with self._explained(), self._in_use.alone() as is_alone:
                if identity_of(self.path) != self._looked_at:  # another process has just done it
                    return
                if is_alone:
                    recovered = recover(self.path)
                    self._damage_mark.unlink(missing_ok=True)
                    break
            if time.monotonic() > deadline:
                raise damage
            time.sleep(_PAUSE_S)
        self.notices = (*self.notices, recovered.notice(self.path))

    def _finish_recovery(self) -> None:
        """Do the rest of what a program began that was ended while it set a damaged file aside."""
        if not journal_of(self.path).exists():
            return
        with self._explained(), self._in_use.alone() as is_alone:
            if is_alone and (recovered := finish(self.path)):
                self._damage_mark.unlink(missing_ok=True)
                self.notices = (*self.notices, recovered.notice(self.path))

    def _look_for_emptiness(self) -> None:
        """Say so where a store was emptied from outside; one that is just being made is empty, too."""
        if not is_empty(self.path):
            return
        with self._explained(), self._in_use.alone() as is_alone:
            if not is_alone or not is_empty(self.path):
                return
            self._looked_at = identity_of(self.path)
            if has_log(self.path):  # SQLite would delete it
                raise explain_damage("it is empty, and the log beside it is not", self.path)
            self.notices = (*self.notices, emptied_notice(self.path))

    def _open(self) -> None:
        self._read_only_address = ""
        with self._opening():
            self._make_folder()
            self._finish_recovery()
            self._look_for_emptiness()
            # Entered before the file is looked at, which may be moved until then.
            if not self._in_use.enter(BUSY_TIMEOUT_S) or journal_of(self.path).exists():
                raise explain_in_the_way(self.path)
            self._prepare_file()
            self._looked_at = identity_of(self.path)
            if self._damage_mark.exists():  # it was found while it was in use
                raise explain_damage("it was found damaged when it was last used", self.path)
            self._connections.open()
            with self._calling() as connection:
                check_version(connection, self.path, latest=len(MIGRATIONS))
                self._make_private()
                enter_wal(connection, deadline=time.monotonic() + BUSY_TIMEOUT_S)
                migrate(connection, self.path)
                look_into(connection)
                with self.without_waiting():
                    try_to_write(connection)

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        self._why_closed = None
        try:
            yield
        except BaseException as error:
            self.close()
            self._why_closed = error if isinstance(error, StoreError) else None
            raise
        self._is_open = True

    def close(self) -> None:
        """Close the connections of all threads; what they still do is interrupted. Safe to call twice."""
        self._is_open, self._why_closed = False, None
        self._connections.close(CLOSING_PATIENCE_S)
        self._in_use.leave()

    def wait_at_most(self, seconds: float) -> None:
        """Let the calls of this thread wait no longer than this for another program's lock."""
        self._local.busy_timeout_s = seconds
        with self._connections.use() as connection:
            if connection is not None:
                set_busy_timeout(connection, seconds)

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
        """This thread's connection, which `close` may close at any time.

        Raises:
            StoreError: the store is not open; says why it could not be opened.
        """
        with self._calling() as connection:
            return connection

    @contextlib.contextmanager
    def _calling(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, as long as the call lasts; its failures come out as a `StoreError`."""
        with self._explained(), self._connections.use() as connection:
            if connection is None:
                if why := self._why_closed:
                    raise type(why)(why.message, hint=why.hint) from why
                raise StoreError(f"{self.path} is not open.")
            yield connection

    @contextlib.contextmanager
    def transaction(self, *, full: bool) -> Iterator[sqlite3.Connection]:
        """A write that happens as a whole or not at all.

        Args:
            full: it must outlive a loss of power; otherwise the death of the process only, which is
                17 times faster (0.013 against 0.23 ms a commit, measured 2026-11).
        """
        with self._calling() as connection:
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
        with self._calling() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def empty_log(self, patience_s: float) -> bool:
        """Empty the write-ahead log into the file; False when others read from it all the time."""
        deadline = time.monotonic() + patience_s
        with self._calling() as connection:
            while True:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # locks nobody out, unlike what follows
                with self.without_waiting():
                    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not is_busy or time.monotonic() > deadline:
                    return not is_busy
                time.sleep(_PAUSE_S)

    def size_bytes(self) -> int:
        """How large the file is, with what of it is still in the log."""
        with self._calling() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        return int(pages * page_bytes)

    def rewrite(self) -> None:
        """Write the file anew, without gaps; whoever writes meanwhile waits until it is done.

        `secure_delete` overwrites a row where it lies, not the copies of it that stay in the unused part of
        a page when SQLite moves rows to another one.
        """
        with self._calling() as connection:
            connection.execute("VACUUM")

    def is_alone(self) -> bool:
        """Whether no other program has the store open just now."""
        with self._calling():
            try:
                with self._in_use.alone() as is_alone:
                    return is_alone
            finally:
                if self._is_open:
                    self._in_use.enter(BUSY_TIMEOUT_S)

    def _connect(self) -> sqlite3.Connection:
        patience_s = getattr(self._local, "busy_timeout_s", BUSY_TIMEOUT_S)
        return connect(self.path, self._read_only_address, patience_s)

    def _make_folder(self) -> None:
        try:
            make_private_folder(self.path.parent)
        except OSError as error:
            raise explain_os(error, self.path) from error

    def _prepare_file(self) -> None:
        """Make sure of a file that its owner alone can read; SQLite gives -wal and -shm the same mode."""
        try:
            with contextlib.suppress(FileExistsError):
                # O_EXCL: opening and closing a file that SQLite has open would drop its locks.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise explain_os(error, self.path) from error

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


def storable_time(seconds: float) -> float:
    """The time; the beginning of 1970 for one before, which a clock that was never set may tell."""
    return max(0.0, seconds)
