"""Sessions out of files into the store: all is checked first, then all of it is written, or nothing.

It is written in small steps, so that chats which write meanwhile hardly wait, and shown by the last one. What
a program that was killed has put in is among the deleted sessions, and goes with them after 30 days.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llama_chat.conversation import Message, new_id, with_ids
from llama_chat.errors import StoreError
from llama_chat.sessions import replies
from llama_chat.sessions.database import storable
from llama_chat.sessions.exchange.files import read_file
from llama_chat.sessions.exchange.lines import changed
from llama_chat.sessions.exchange.records import FileSession, PackedTokens
from llama_chat.sessions.records import ModelRecord, SessionInfo, sampling_json
from llama_chat.sessions.store import SessionStore

_IDS_IN_A_QUESTION = 500
_STEP_BYTES = 300_000
_STEP_ROWS = 200
_PAUSE_S = 0.05
"""Between two steps: SQLite, waiting for the lock, asks for it every 25 to 50 ms."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import."""

    path: Path
    name: str
    """As the user knows it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A session that was put into the store."""

    info: SessionInfo
    copy_of: str = ""
    """Its id in the file, where the store had that id already, or one of a message: now all ids are new."""
    left_out: int = 0
    """Messages that are no part of a chat here."""


def import_files(store: SessionStore, sources: Sequence[Source]) -> list[Imported]:
    """What was imported, in the order of the files; the newest of it becomes the store's last session.

    The files are read twice: to check them, then to write what is in them, one session in memory at a time.

    Raises:
        ExchangeError: a file cannot be read or is damaged; nothing was imported.
        StoreError: the store cannot be written; nothing was imported.
    """
    states = [_check(source) for source in sources]
    found: list[Imported] = []
    try:
        for session in _sessions(sources):
            found.append(_begin(store, session))
            _write(store, session, found[-1])
        with store.transaction() as connection:
            _reveal(connection, [each.info for each in found])
            for source, state in zip(sources, states, strict=True):
                if _state_of(source.path) != state:
                    raise changed(source.path)
    except BaseException:
        _take_back(store, found)
        raise
    return found


def _check(source: Source) -> tuple[int, ...]:
    """Read the file through; what it is known by, if it is the same afterwards."""
    state = _state_of(source.path)
    for _ in read_file(source.path, source.name):
        pass
    return state


def _state_of(path: Path) -> tuple[int, ...]:
    """Changes when the file does; empty where `read_file` will say what is wrong."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _sessions(sources: Sequence[Source]) -> Iterator[FileSession]:
    for source in sources:
        yield from read_file(source.path, source.name, is_checked=True)


def _begin(store: SessionStore, session: FileSession) -> Imported:
    """Put the session in, without messages, as a deleted one: no list shows it before all is there."""
    info, conversation = session.record.info, session.record.conversation
    with store.transaction() as connection:
        is_there = _is_any_there(connection, "sessions", [info.id]) or _is_any_there(
            connection, "messages", list(conversation.messages)
        )
        copy = replace(info, id=new_id() if is_there else info.id, message_count=len(conversation.messages))
        _insert_session(connection, copy)
    return Imported(copy, info.id if is_there else "", session.left_out)


def _write(store: SessionStore, session: FileSession, imported: Imported) -> None:
    """Put the messages in, in steps: who writes meanwhile waits for one of them at most."""
    conversation = session.record.conversation
    new_ids: dict[str, str] = {}
    if imported.copy_of:
        new_ids = {known: new_id() for known in conversation.messages}
    rows: list[_Row] = []
    size_bytes = 0
    for message in conversation.messages.values():
        packed = session.packed_of(message.id)  # reads the file: nobody need wait for that
        stored = _as_ended(with_ids(message, new_ids))
        rows.append(_Row(stored, session.record.models.get(message.id), packed))
        size_bytes += rows[-1].size_bytes
        if size_bytes > _STEP_BYTES or len(rows) >= _STEP_ROWS:
            _insert_rows(store, imported.info.id, rows)
            rows, size_bytes = [], 0
            time.sleep(_PAUSE_S)
    _insert_rows(store, imported.info.id, rows)
    leaf_id = conversation.leaf_id
    with store.transaction() as connection:
        connection.execute(
            "UPDATE sessions SET leaf_id = ? WHERE id = ?",
            (leaf_id and new_ids.get(leaf_id, leaf_id), imported.info.id),
        )
        _note_model(connection, imported.info)


def _insert_rows(store: SessionStore, session_id: str, rows: Sequence[_Row]) -> None:
    with store.transaction() as connection:
        for row in rows:
            _insert_message(connection, session_id, row)


def _take_back(store: SessionStore, found: Sequence[Imported]) -> None:
    """Delete what is there already; where the store takes that no more, it goes after 30 days."""
    with contextlib.suppress(StoreError):
        for each in found:
            store.delete_now(each.info.id)


def _is_any_there(connection: sqlite3.Connection, table: str, ids: Sequence[str]) -> bool:
    for start in range(0, len(ids), _IDS_IN_A_QUESTION):
        some = ids[start : start + _IDS_IN_A_QUESTION]
        question = f"SELECT 1 FROM {table} WHERE id IN ({', '.join('?' * len(some))}) LIMIT 1"
        if connection.execute(question, some).fetchone():
            return True
    return False


def _insert_session(connection: sqlite3.Connection, info: SessionInfo) -> None:
    connection.execute(
        "INSERT INTO sessions "
        "(id, title, created_at, updated_at, touched, date, model, message_count, deleted_at) VALUES "
        "(?, CAST(? AS TEXT), ?, ?, 0, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?)",
        (
            *(info.id, storable(info.title), info.created_at, info.updated_at),
            *(storable(info.date), storable(info.model), info.message_count, time.time()),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A message that is ready to be put in."""

    message: Message
    model: ModelRecord | None
    packed: PackedTokens | None

    @property
    def size_bytes(self) -> int:
        """What there is to write, and to index, about."""
        return len(self.message.text) + (len(self.packed.archive) if self.packed else 0)


def _insert_message(connection: sqlite3.Connection, session_id: str, row: _Row) -> None:
    stored = row.message
    replies.insert_message(connection, session_id, stored)
    if row.model is not None:
        connection.execute(
            "UPDATE replies SET model_id = ? WHERE message_id = ?",
            (_model_id(connection, row.model), stored.id),
        )
    if row.packed is not None:
        connection.execute("INSERT INTO token_archives VALUES (?, ?)", (stored.id, row.packed.archive))
        connection.executemany(
            "INSERT INTO sampling_changes VALUES (?, ?, ?)",
            [(stored.id, place, sampling_json(sampling)) for place, sampling in row.packed.sampling_changes],
        )


def _as_ended(message: Message) -> Message:
    """The message; a reply that was being written when it was exported is written by nobody here."""
    if message.reply is None or message.reply.finish_reason is not None:
        return message
    return replace(message, reply=replace(message.reply, finish_reason="interrupted"))


def _model_id(connection: sqlite3.Connection, model: ModelRecord) -> int:
    """The row of the model; one that is there keeps what it says: its path is of this machine."""
    known = (model.name, model.fingerprint, model.engine, model.device, model.dtype, model.template)
    connection.execute(
        "INSERT INTO models (name, fingerprint, engine, device, dtype, template, path, vocabulary) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET vocabulary = coalesce(nullif(vocabulary, ''), excluded.vocabulary)",
        (*known, model.path, model.vocabulary),
    )
    (found,) = connection.execute(
        "SELECT id FROM models WHERE "
        "(name, fingerprint, engine, device, dtype, template) = (?, ?, ?, ?, ?, ?)",
        known,
    ).fetchone()
    return int(found)


def _note_model(connection: sqlite3.Connection, info: SessionInfo) -> None:
    """Let the session go on with what wrote its last reply, if that is the model it names."""
    connection.execute(
        "UPDATE sessions SET model_id = (SELECT r.model_id FROM messages m "
        "JOIN replies r ON r.message_id = m.id JOIN models d ON d.id = r.model_id "
        "WHERE m.session_id = sessions.id AND d.name = sessions.model ORDER BY m.seq DESC LIMIT 1) "
        "WHERE id = ?",
        (info.id,),
    )


def _reveal(connection: sqlite3.Connection, infos: Sequence[SessionInfo]) -> None:
    """Show the sessions, before those that were there, in their own order by time."""
    (last,) = connection.execute("SELECT coalesce(max(touched), 0) FROM sessions").fetchone()
    in_order = sorted(infos, key=lambda info: info.updated_at)
    connection.executemany(
        "UPDATE sessions SET touched = ?, deleted_at = NULL WHERE id = ?",
        [(last + place, info.id) for place, info in enumerate(in_order, 1)],
    )
