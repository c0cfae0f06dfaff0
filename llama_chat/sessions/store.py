"""The store of sessions: what was shown is kept, through a crash, and comes back as the tree it was."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from llama_chat.conversation import Conversation, Message, new_id
from llama_chat.errors import StoreError
from llama_chat.events import ModelInfo, Prefilled, Token
from llama_chat.sessions import replies
from llama_chat.sessions.archive import pack_archive
from llama_chat.sessions.database import Database, storable
from llama_chat.sessions.failures import StoreUnavailable
from llama_chat.sessions.lease import build_lease
from llama_chat.sessions.records import MESSAGE_COLUMNS, SESSION_COLUMNS, SessionInfo, message_from

_Infos: TypeAlias = list[SessionInfo]  # inside the class `list` is the method
_Tokens: TypeAlias = list[Token]
_LISTED = "deleted_at IS NULL AND message_count > 0"
_WHERE_THEY_ARE = "Ctrl+S in the chat lists them with their ids."


class SessionStore:
    """Every session of one user, in one SQLite file; usable from several threads and processes at once.

    Every call raises `StoreError` when it fails, a `StoreUnavailable` when it may work later (locked, no
    space, read-only); nothing is then half done. A call that adds may be repeated: what is there stays.

    Args:
        path: the file; it is made by `open`, nothing happens before.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def open(self) -> None:
        """Make folder and file if need be and bring the tables up to date.

        Raises:
            StoreError: it cannot be written, is no store, is damaged or was written by a newer version
                (and is then left as it is).
        """
        self._database.open()

    def close(self) -> None:
        """Close the file for all threads; safe to call twice."""
        self._database.close()

    def wait_at_most(self, seconds: float) -> None:
        """Let the calls of this thread wait no longer than this for another program's lock."""
        self._database.wait_at_most(seconds)

    # --- sessions ---------------------------------------------------------------------------------

    def create(self, *, title: str = "New chat", model: str = "", date: str) -> SessionInfo:
        """A new session without messages; it is listed from its first message on."""
        now = time.time()
        info = SessionInfo(new_id(), title, now, now, model, date, 0)
        with self._database.transaction(full=True) as connection:
            connection.execute(
                "INSERT INTO sessions (id, title, created_at, updated_at, touched, model, date) VALUES "
                "(?, CAST(? AS TEXT), ?, ?, (SELECT coalesce(max(touched), 0) + 1 FROM sessions), ?, ?)",
                (info.id, storable(title), now, now, model, date),
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

    def find(self, prefix: str) -> SessionInfo:
        """The session whose id begins so.

        Raises:
            StoreError: there is none, or more than one.
        """
        first = prefix.strip().lower()
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {SESSION_COLUMNS} FROM sessions "
                "WHERE deleted_at IS NULL AND id >= ? AND id < ? LIMIT 4",
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

    def rename(self, session_id: str, title: str) -> None:
        """Give the session another title."""
        self._change(session_id, "title = CAST(? AS TEXT)", storable(title))

    def delete(self, session_id: str) -> None:
        """Take the session out of every list; `undelete` brings it back."""
        self._change(session_id, "deleted_at = ?", time.time())

    def undelete(self, session_id: str) -> None:
        """Bring a deleted session back."""
        self._change(session_id, "deleted_at = ?", None)

    def select_leaf(self, session_id: str, leaf_id: str | None) -> None:
        """Remember which path through the tree is taken."""
        self._change(session_id, "leaf_id = ?", leaf_id)

    def set_model(self, session_id: str, info: ModelInfo) -> None:
        """Note what runs in the session from now on; replies that begin later refer to it."""
        values = (
            *(info.name, info.fingerprint, info.engine, info.device, info.dtype),
            info.chat_template or "",
        )
        with self._database.transaction(full=False) as connection:
            connection.execute(
                "INSERT INTO models (name, fingerprint, engine, device, dtype, template) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                values,
            )
            updated = connection.execute(
                "UPDATE sessions SET model = ?, model_id = (SELECT id FROM models WHERE "
                "(name, fingerprint, engine, device, dtype, template) = (?, ?, ?, ?, ?, ?)) WHERE id = ?",
                (info.name, *values, session_id),
            )
            _require(updated, session_id)

    def _change(self, session_id: str, assignment: str, value: object) -> None:
        with self._database.transaction(full=True) as connection:
            updated = connection.execute(
                f"UPDATE sessions SET {assignment} WHERE id = ?",
                (value, session_id),
            )
            _require(updated, session_id)

    # --- messages ---------------------------------------------------------------------------------

    def load(self, session_id: str) -> Conversation:
        """The tree of the session.

        A reply without an end has all its committed text: with finish_reason None while its process lives,
        else "interrupted", which is then noted in the store if that is possible.
        """
        with self._database.reading() as connection:
            session = connection.execute(
                "SELECT leaf_id FROM sessions WHERE id = ?", (session_id,)
            ).fetchone()
            if session is None:
                raise _no_session(session_id)
            rows = connection.execute(
                f"SELECT {MESSAGE_COLUMNS} FROM messages m LEFT JOIN replies r ON r.message_id = m.id "
                "WHERE m.session_id = ? ORDER BY m.seq",
                (session_id,),
            )
            messages = {message.id: message for message in map(message_from, rows)}
            running = [m for m in messages.values() if m.reply and m.reply.finish_reason is None]
            progress = [replies.with_progress(connection, message) for message in running]
        for message in progress:
            messages[message.id] = message
            self._settle(message)
        return Conversation(messages, session[0])

    def add_messages(self, session_id: str, messages: Sequence[Message], leaf_id: str | None) -> None:
        """Keep new messages, parents before children, and the path that is now taken; all or nothing."""
        with self._database.transaction(full=True) as connection:
            inserted = sum(replies.insert_message(connection, session_id, message) for message in messages)
            _touch(connection, session_id, inserted, leaf_id)

    def take_back(self, session_id: str, message_ids: Sequence[str], leaf_id: str | None) -> None:
        """Forget messages that nothing follows, and take the path to this leaf; may be repeated."""
        with self._database.transaction(full=True) as connection:
            deleted = connection.executemany(
                "DELETE FROM messages WHERE session_id = ? AND id = ? "
                "AND NOT EXISTS (SELECT 1 FROM messages below WHERE below.parent_id = messages.id)",
                [(session_id, message_id) for message_id in message_ids],
            ).rowcount
            updated = connection.execute(
                "UPDATE sessions SET leaf_id = ?, message_count = message_count - ? WHERE id = ?",
                (leaf_id, max(0, deleted), session_id),
            )
            _require(updated, session_id)

    def begin_reply(self, session_id: str, message: Message) -> None:
        """Keep an assistant's message that this process is about to write; it becomes the leaf."""
        assert message.reply is not None
        assert message.reply.finish_reason is None
        with self._database.transaction(full=False) as connection:
            inserted = replies.insert_message(connection, session_id, message)
            replies.take_lease(connection, message.id, build_lease())
            _touch(connection, session_id, inserted, message.id)

    def note_prefill(self, message_id: str, prefilled: Prefilled) -> None:
        """Keep what the prefill of a running reply took."""
        with self._database.transaction(full=False) as connection:
            replies.note_prefill(connection, message_id, prefilled)

    def append_tokens(self, message_id: str, tokens: Sequence[Token]) -> None:
        """Keep the next tokens of a running reply: they outlive the death of the process."""
        with self._database.transaction(full=False) as connection:
            replies.insert_tokens(connection, message_id, tokens)

    def finish_reply(self, session_id: str, message: Message, *, pack: bool = True) -> None:
        """Keep the final text and record of a reply: they outlive a loss of power.

        Args:
            session_id: its session.
            message: with a finish_reason.
            pack: pack the tokens too (0.4 s for 1,000 of them); else `pack_tokens` does it later.
        """
        assert message.reply is not None
        assert message.reply.finish_reason is not None
        with self._database.transaction(full=True) as connection:
            inserted = replies.insert_message(connection, session_id, message)
            replies.end_reply(connection, message)
            _touch(connection, session_id, inserted, None)
        if pack:
            self.pack_tokens(message.id)

    def pack_tokens(self, message_id: str) -> None:
        """Compress the token rows of a reply that has ended into one blob; nothing to do is fine."""
        # The packing itself happens outside of the write, which would lock other chats out for its time.
        with self._database.reading() as connection:
            count = replies.row_count(connection, message_id)
            if not count or replies.is_running(connection, message_id):
                return
            packed = pack_archive(replies.tokens_of(connection, message_id))
        with self._database.transaction(full=False) as connection:
            if replies.row_count(connection, message_id) == count:
                replies.replace_rows(connection, message_id, packed)

    def load_tokens(self, message_id: str) -> _Tokens:
        """The tokens of a stored reply, with what each was chosen from; empty for one that kept none.

        Once packed, the lower tail of the candidates is near, not exact (see `tail`).

        Raises:
            StoreError: there is no such reply.
        """
        with self._database.reading() as connection:
            return replies.tokens_of(connection, message_id)

    def _settle(self, message: Message) -> None:
        """Note that a reply was interrupted; a store that cannot be written now will hear it another time."""
        if message.reply is None or message.reply.finish_reason is None:
            return
        with contextlib.suppress(StoreUnavailable), self._database.without_waiting():
            with self._database.transaction(full=False) as connection:
                if replies.is_running(connection, message.id):
                    replies.end_reply(connection, message)
            self.pack_tokens(message.id)


def _touch(connection: sqlite3.Connection, session_id: str, inserted: int, leaf_id: str | None) -> None:
    """Make the session the last one; a leaf of None keeps the one it has."""
    updated = connection.execute(
        "UPDATE sessions SET updated_at = ?, touched = (SELECT max(touched) + 1 FROM sessions), "
        "message_count = message_count + ?, leaf_id = coalesce(?, leaf_id) WHERE id = ?",
        (time.time(), inserted, leaf_id, session_id),
    )
    _require(updated, session_id)


def _require(updated: sqlite3.Cursor, session_id: str) -> None:
    if updated.rowcount == 0:
        raise _no_session(session_id)


def _no_session(session_id: str) -> StoreError:
    return StoreError(f"There is no session {session_id!r}.", hint=_WHERE_THEY_ARE)
