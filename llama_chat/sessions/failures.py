"""What SQLite and the disk complain about, in words that help, sorted into "later" and "never"."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from llama_chat.errors import StoreError


class StoreUnavailable(StoreError):  # noqa: N818  (a state of the disk that may pass, not an error of the caller)
    """The store cannot be used just now; the same call may work later."""


_PLACE_HINT = "Free the place or set LLAMA_CHAT_HOME to a folder that can be written."
_PASSING: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("is locked by another program", "Close the program that holds it."),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "Close the program that holds it."),
    sqlite3.SQLITE_PROTOCOL: ("is locked by another program", "Close the program that holds it."),
    sqlite3.SQLITE_FULL: ("cannot grow: no space is left on the disk", "Make room on the disk."),
    sqlite3.SQLITE_READONLY: ("cannot be written: it is read-only", _PLACE_HINT),
    sqlite3.SQLITE_PERM: ("cannot be written: access is denied", _PLACE_HINT),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", _PLACE_HINT),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk reports an error", "Check the disk."),
    sqlite3.SQLITE_NOMEM: ("cannot be used: memory is short", "Close other programs."),
}
_DAMAGE_HINT = "Move the file away to begin with an empty one; nothing was changed."


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """The error for the user; a `StoreUnavailable` when it may pass."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in _PASSING:
        what, hint = _PASSING[primary]
        return StoreUnavailable(f"{path} {what} ({error}).", hint=hint)
    if primary == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a database of sessions.", hint=_DAMAGE_HINT)
    if primary == sqlite3.SQLITE_CORRUPT:
        return StoreError(f"{path} is damaged ({error}).", hint=_DAMAGE_HINT)
    return StoreError(f"{path}: {error}.")


def explain_os(error: OSError, path: Path) -> StoreUnavailable:
    """The error for a folder or file that the system refused."""
    return StoreUnavailable(f"{path} cannot be written: {error.strerror or error}.", hint=_PLACE_HINT)
