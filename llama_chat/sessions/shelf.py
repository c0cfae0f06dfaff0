"""The sessions as a list: made, found, searched, renamed, deleted, held open."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from llama_chat.conversation import new_id
from llama_chat.errors import StoreError
from llama_chat.events import ModelInfo
from llama_chat.sessions import deleting, holding
from llama_chat.sessions.database import Database, storable, storable_time
from llama_chat.sessions.records import (
    LONGEST_TITLE,
    MODEL_COLUMNS,
    SESSION_COLUMNS,
    ModelRecord,
    SessionInfo,
)
from llama_chat.sessions.said import find_said
from llama_chat.sessions.search import SearchHit, find_hits

if TYPE_CHECKING:
    from llama_chat.distribution.names import TokenNames

_Infos: TypeAlias = list[SessionInfo]  # inside the class `list` is the method
_Hits: TypeAlias = list[SearchHit]
_Texts: TypeAlias = list[str]
_LISTED = "deleted_at IS NULL AND message_count > 0"
_DELETED = "deleted_at IS NOT NULL AND id NOT IN (SELECT session_id FROM deletions)"
_TEXTS = ", ".join(["CAST(? AS TEXT)"] * 6)
_MOST_NAMES = 4
"""Vocabularies that are kept unpacked, of up to 2 MB each."""
_WHERE_THEY_ARE = "Ctrl+S in the chat lists them with their ids."


class Shelf:
    """What the store knows about sessions as wholes; `SessionStore` adds their messages.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._names: dict[str, TokenNames] = {}

    # --- which there are --------------------------------------------------------------------------

    def create(self, *, title: str = "New chat", model: str = "", date: str) -> SessionInfo:
        """A new session without messages; it is listed from its first message on."""
        now = storable_time(time.time())
        info = SessionInfo(new_id(), title, now, now, model, date, 0)
        with self._database.transaction(full=True) as connection:
            connection.execute(
                "INSERT INTO sessions (id, title, created_at, updated_at, touched, model, date) VALUES "
                "(?, CAST(? AS TEXT), ?, ?, (SELECT coalesce(max(touched), 0) + 1 FROM sessions), "
                "CAST(? AS TEXT), ?)",
                (info.id, storable(title), now, now, storable(model), date),
            )
        return info

    def list(self, limit: int | None = None, offset: int = 0) -> _Infos:
        """The sessions that have messages, the one last written to first; all of them without a limit."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {SESSION_COLUMNS} FROM sessions WHERE {_LISTED} "
                "ORDER BY touched DESC LIMIT ? OFFSET ?",
                (-1 if limit is None else limit, offset),
            )
            return [SessionInfo(*row) for row in rows]

    def last(self) -> SessionInfo | None:
        """The session that was written to last."""
        return next(iter(self.list(limit=1)), None)

    def deleted(self) -> _Infos:
        """The sessions that can be brought back, the one last written to first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {SESSION_COLUMNS} FROM sessions WHERE {_DELETED} ORDER BY touched DESC"
            )
            return [SessionInfo(*row) for row in rows]

    def find(self, prefix: str, *, include_deleted: bool = False) -> SessionInfo:
        """The session whose id begins so.

        Raises:
            StoreError: there is none, or more than one.
        """
        first = prefix.strip().lower()
        among = f"(deleted_at IS NULL OR {_DELETED})" if include_deleted else "deleted_at IS NULL"
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {SESSION_COLUMNS} FROM sessions WHERE {among} AND id >= ? AND id < ? LIMIT 4",
                (first, first + "\U0010ffff"),
            ).fetchall()
        if not first or not rows:
            raise StoreError(f"No session begins with {prefix!r}.", hint=_WHERE_THEY_ARE)
        if len(rows) > 1:
            ids = ", ".join(row[0] for row in rows[:3])
            raise StoreError(
                f"{prefix!r} fits more than one session ({ids}{', ...' if len(rows) > 3 else ''}).",
                hint="Give more of the id.",
            )
        return SessionInfo(*rows[0])

    def search(self, words: str, limit: int = 50) -> _Hits:
        """The messages that hold all of the words, the best first; see `search.query_items`.

        Words are searched for, whatever signs they hold; nothing but punctuation finds nothing. What is
        being written is found once it has ended; messages of deleted sessions are not found.
        """
        with self._database.reading() as connection:
            return find_hits(connection, words, limit)

    def last_said(self, most: int = 1_000) -> _Texts:
        """What the user said last, in all sessions but the deleted ones: each text once, the newest first.

        So many at most; fewer where they are long. In the order of their times, among those that were
        written last: what was imported just now was not said just now.
        """
        with self._database.reading() as connection:
            return find_said(connection, most)

    # --- changes ----------------------------------------------------------------------------------

    def rename(self, session_id: str, title: str) -> None:
        """Give the session another title, of which the first `LONGEST_TITLE` characters count."""
        self._change(session_id, "title = CAST(? AS TEXT)", storable(title[:LONGEST_TITLE]))

    def delete(self, session_id: str) -> None:
        """Take the session out of every list; `undelete` brings it back, for 30 days.

        So do new words: a chat that has it open may go on with it.
        """
        self._change(session_id, "deleted_at = ?", time.time())

    def undelete(self, session_id: str) -> None:
        """Bring a deleted session back.

        Raises:
            StoreError: there is none; it may be gone for good.
        """
        with self._database.transaction(full=True) as connection:
            if session_id in deleting.deletions(connection):
                raise no_session(session_id)
            updated = connection.execute("UPDATE sessions SET deleted_at = NULL WHERE id = ?", (session_id,))
            require(updated, session_id)

    def delete_now(self, session_id: str) -> bool:
        """Delete the session for good, from the full-text index and from backups too.

        True: nothing of it is left in the store or in a backup. False: it is gone, but traces of it stay,
        because another chat has the (large) store open or because a backup cannot be changed;
        `finish_deleting` goes on with that. A damaged store that was set aside keeps what it holds until it
        expires, 30 days after that.

        May take long: a large file is written anew (300 MB: 7 s), and others that want to write wait.

        Raises:
            StoreError: there is none, or another chat has it open.
        """
        with self._database.transaction(full=True) as connection:
            if holding.is_held_by_others(connection, session_id):
                raise StoreError(
                    f"Session {session_id!r} is open in another chat.", hint="Close it there first."
                )
            if not deleting.begin_deletion(connection, session_id, time.time()):
                raise no_session(session_id)
        return deleting.erase(self._database, None)

    def select_leaf(self, session_id: str, leaf_id: str | None) -> None:
        """Remember which path through the tree is taken."""
        self._change(session_id, "leaf_id = ?", leaf_id)

    def set_model(self, session_id: str, info: ModelInfo) -> None:
        """Note what runs in the session from now on; replies that begin later refer to it."""
        names = (info.name, info.fingerprint, info.engine, info.device, info.dtype)
        values = [storable(text) for text in (*names, info.chat_template or "")]
        with self._database.transaction(full=False) as connection:
            connection.execute(
                "INSERT INTO models (name, fingerprint, engine, device, dtype, template, path, vocabulary) "
                f"VALUES ({_TEXTS}, CAST(? AS TEXT), ?) ON CONFLICT DO UPDATE SET path = excluded.path, "
                "vocabulary = coalesce(nullif(excluded.vocabulary, ''), vocabulary)",
                (*values, storable(info.path), info.vocabulary_digest),
            )
            updated = connection.execute(
                "UPDATE sessions SET model = CAST(? AS TEXT), model_id = (SELECT id FROM models WHERE "
                f"(name, fingerprint, engine, device, dtype, template) = ({_TEXTS})) WHERE id = ?",
                (values[0], *values, session_id),
            )
            require(updated, session_id)

    def model_of(self, session_id: str) -> ModelRecord | None:
        """What ran in the session last; None where that is not known."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {MODEL_COLUMNS} FROM sessions s JOIN models d ON d.id = s.model_id WHERE s.id = ?",
                (session_id,),
            ).fetchone()
        return None if row is None else ModelRecord(*row)

    def model_of_reply(self, message_id: str) -> ModelRecord | None:
        """What wrote the reply; None where that is not known."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {MODEL_COLUMNS} FROM replies r JOIN models d ON d.id = r.model_id "
                "WHERE r.message_id = ?",
                (message_id,),
            ).fetchone()
        return None if row is None else ModelRecord(*row)

    # --- the tokens of the models -----------------------------------------------------------------

    def has_vocabulary(self, digest: str) -> bool:
        """Whether the tokens of this vocabulary are known."""
        from llama_chat.sessions import vocabularies  # not for the first paint

        with self._database.reading() as connection:
            return vocabularies.has_vocabulary(connection, digest)

    def keep_vocabulary(self, digest: str, token_count: int, packed: bytes) -> None:
        """Keep the tokens of a model, as `pack_vocabulary` packed them; what is there stays as it is."""
        from llama_chat.sessions import vocabularies

        with self._database.transaction(full=False) as connection:
            vocabularies.insert_vocabulary(connection, digest, token_count, packed)

    def vocabulary_of_reply(self, message_id: str) -> TokenNames:
        """What the tokens of the reply, and those that it was chosen from, are called; empty: not known.

        Without a model: it was kept when the model answered.
        """
        from llama_chat.sessions import vocabularies

        with self._database.reading() as connection:
            digest = vocabularies.digest_of_reply(connection, message_id)
            names = self._names.get(digest) or vocabularies.load_vocabulary(connection, digest)
        if len(names):
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[digest] = names
        return names

    # --- who has one open -------------------------------------------------------------------------

    def hold(self, session_id: str) -> bool:
        """Note that this process has the session open; True when another living process has it open too."""
        with self._database.transaction(full=False) as connection:
            if not connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone():
                raise no_session(session_id)
            holding.take_hold(connection, session_id)
            return holding.is_held_by_others(connection, session_id)

    def let_go(self, session_id: str) -> None:
        """Note that this process has the session open no longer; nothing to note is fine."""
        with self._database.transaction(full=False) as connection:
            holding.let_go(connection, session_id)

    def _change(self, session_id: str, assignment: str, value: object) -> None:
        with self._database.transaction(full=True) as connection:
            updated = connection.execute(
                f"UPDATE sessions SET {assignment} WHERE id = ?",
                (value, session_id),
            )
            require(updated, session_id)


def require(updated: sqlite3.Cursor, session_id: str) -> None:
    """Make sure that the session was there.

    Raises:
        StoreError: it was not.
    """
    if updated.rowcount == 0:
        raise no_session(session_id)


def no_session(session_id: str) -> StoreError:
    """The error for a session that is not there."""
    return StoreError(f"There is no session {session_id!r}.", hint=_WHERE_THEY_ARE)
