"""What SQLite and the disk complain about, in words that help, sorted into "later" and "never"."""

from __future__ import annotations

import errno
import sqlite3
import struct
import zlib
from pathlib import Path

from llama_chat.errors import StoreError
from llama_chat.sessions.header import is_ours

UNREADABLE = (
    *(zlib.error, struct.error, ValueError, TypeError, LookupError, AttributeError),
    *(OverflowError, EOFError, StopIteration, RecursionError),
)
"""What the readers of packed and JSON columns say of bytes that were not written so."""


class StoreUnavailable(StoreError):  # noqa: N818  (a state of the disk that may pass, not an error of the caller)
    """The store cannot be used just now; the same call may work later."""


class StoreDamaged(StoreError):  # noqa: N818  (a state of the file)
    """The file is not what was written; the next `open` sets it aside and recovers what can be read."""


_ELSEWHERE = "set LLAMA_CHAT_HOME to a folder that can be written."
_RIGHTS_HINT = f"Give yourself the right to write there, or {_ELSEWHERE}"
_ROOM_HINT = f"Make room on the disk, or {_ELSEWHERE}"
_IN_THE_WAY_HINT = f"A file is where the folder should be: move it away, or {_ELSEWHERE}"
_OS_HINTS = {
    errno.ENOSPC: _ROOM_HINT,
    errno.EDQUOT: _ROOM_HINT,
    errno.EROFS: f"The disk is there for reading only: {_ELSEWHERE}",
    errno.EACCES: _RIGHTS_HINT,
    errno.EPERM: _RIGHTS_HINT,
    errno.EEXIST: _IN_THE_WAY_HINT,
    errno.ENOTDIR: _IN_THE_WAY_HINT,
}
_PASSING: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("is locked by another program", "Close the program that holds it."),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "Close the program that holds it."),
    sqlite3.SQLITE_PROTOCOL: ("is locked by another program", "Close the program that holds it."),
    sqlite3.SQLITE_FULL: ("cannot grow: no space is left on the disk", "Make room on the disk."),
    sqlite3.SQLITE_READONLY: ("cannot be written: it is read-only", _RIGHTS_HINT),
    sqlite3.SQLITE_PERM: ("cannot be written: access is denied", _RIGHTS_HINT),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened for writing", _RIGHTS_HINT),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk reports an error", "Check the disk."),
    sqlite3.SQLITE_NOMEM: ("cannot be used: memory is short", "Close other programs."),
}
_WRONG_HEADER = ("unsupported file format", "duplicate column name", "already exists")
"""What SQLite says of a form of the schema that is none, and of a version that the tables are not of."""
_DAMAGE_HINT = (
    "End every llama-chat and start it again: it then sets the file aside and recovers what can be read."
)


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """The error for the user; a `StoreUnavailable` when it may pass."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in _PASSING:
        what, hint = _PASSING[primary]
        return StoreUnavailable(f"{path} {what} ({error}).", hint=hint)
    if primary == sqlite3.SQLITE_INTERRUPT:
        return StoreError(f"{path} was closed meanwhile.")
    if primary == sqlite3.SQLITE_NOTADB:
        return StoreDamaged(f"{path} is not a database of sessions.", hint=_DAMAGE_HINT)
    if primary == sqlite3.SQLITE_CORRUPT:
        return explain_damage(str(error), path)
    if (
        primary == sqlite3.SQLITE_ERROR
        and any(said in str(error) for said in _WRONG_HEADER)
        and is_ours(path)
    ):
        return explain_damage(str(error), path)
    return StoreError(f"{path}: {error}.")


def explain_in_the_way(path: Path) -> StoreUnavailable:
    """The error for a store that another program keeps for itself, to recover it."""
    return StoreUnavailable(
        f"{path} is being recovered by another program.", hint="Wait a moment and try again."
    )


def explain_damage(what: str, path: Path) -> StoreDamaged:
    """The error for a file that is not what was written."""
    return StoreDamaged(f"{path} is damaged ({what}).", hint=_DAMAGE_HINT)


def explain_os(error: OSError, path: Path) -> StoreUnavailable:
    """The error for a folder or file that the system refused."""
    hint = _OS_HINTS.get(error.errno or 0, f"{_ELSEWHERE[0].upper()}{_ELSEWHERE[1:]}")
    return StoreUnavailable(f"{path} cannot be written: {error.strerror or error}.", hint=hint)
