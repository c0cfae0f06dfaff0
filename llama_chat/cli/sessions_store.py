"""The store for the commands that read or change sessions: opened, told about, closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llama_chat.cli.talk import say_notices
from llama_chat.errors import StoreError
from llama_chat.paths import user_paths
from llama_chat.sessions import SessionInfo, SessionStore, StoreUnavailable
from llama_chat.sessions.recovery_journal import journal_of

_TOLD = 5
"""So many damaged replies are named."""
_HINT = "'llama-chat sessions list' has them with their ids; with --deleted, the deleted ones."


@contextmanager
def opened_store(path: Path | None = None, *, is_made: bool = False) -> Iterator[SessionStore]:
    """The store, after what the user should hear about it; for reading only where it cannot be written.

    Args:
        path: the file; the user's own where none is given.
        is_made: make it if there is none.

    Raises:
        StoreError: there is none, or it cannot be opened.
    """
    file = path or user_paths().sessions_file
    if not is_made and not exists(file):
        raise StoreError("There are no sessions yet.", hint="Begin one with llama-chat.")
    store = SessionStore(file)
    try:
        _open(store)
        say_notices(store.notices)
        yield store
        say_notices(_damaged_notice(store.damaged_replies))
    finally:
        store.close()


def _damaged_notice(message_ids: Sequence[str]) -> list[str]:
    """What is said of replies whose tokens could not be read."""
    if not message_ids:
        return []
    told = ", ".join(message_ids[:_TOLD]) + (", ..." if len(message_ids) > _TOLD else "")
    if len(message_ids) == 1:
        return [f"The tokens of reply {told} are damaged: its text is there, but not all of their numbers."]
    count = f"{len(message_ids):,} replies"
    return [
        f"The tokens of {count} are damaged ({told}): their texts are there, but not all of their numbers."
    ]


def exists(path: Path) -> bool:
    """Whether there is a store, or one that a program was ended in putting there."""
    return path.exists() or journal_of(path).exists()


def _open(store: SessionStore) -> None:
    try:
        store.open()
    except StoreUnavailable as error:
        try:
            store.open_for_reading()
        except StoreError:
            raise error from None


def find_session(store: SessionStore, prefix: str, *, include_deleted: bool = False) -> SessionInfo:
    """The session whose id begins so.

    Raises:
        StoreError: there is none, or more than one; says where ids are to be seen on the command line.
    """
    try:
        return store.find(prefix, include_deleted=include_deleted)
    except StoreError as error:
        if type(error) is not StoreError:
            raise
        fits_several = "more than one" in error.message
        raise StoreError(error.message, hint=error.hint if fits_several else _HINT) from error
