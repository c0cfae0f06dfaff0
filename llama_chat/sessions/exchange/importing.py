"""Sessions out of files into the store: all is checked first, then all of it is written, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llama_chat.conversation import Message, new_id
from llama_chat.sessions import replies
from llama_chat.sessions.database import storable
from llama_chat.sessions.exchange.files import read_file
from llama_chat.sessions.exchange.lines import changed
from llama_chat.sessions.exchange.records import FileSession
from llama_chat.sessions.records import ModelRecord, SessionInfo, sampling_json
from llama_chat.sessions.store import SessionStore

_IDS_IN_A_QUESTION = 500


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
    with store.transaction() as connection:
        found = [_insert(connection, session) for session in _sessions(sources)]
        _make_last(connection, [each.info for each in found])
        for source, state in zip(sources, states, strict=True):
            if _state_of(source.path) != state:
                raise changed(source.path)
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


def _insert(connection: sqlite3.Connection, session: FileSession) -> Imported:
    info, conversation = session.record.info, session.record.conversation
    new_ids: dict[str, str] = {}
    if _is_any_there(connection, "sessions", [info.id]) or _is_any_there(
        connection, "messages", list(conversation.messages)
    ):
        new_ids = {known: new_id() for known in (info.id, *conversation.messages)}
    copy = replace(info, id=new_ids.get(info.id, info.id), message_count=len(conversation.messages))
    leaf_id = conversation.leaf_id
    _insert_session(connection, copy, leaf_id and new_ids.get(leaf_id, leaf_id))
    for message in conversation.messages.values():
        _insert_message(connection, copy.id, message, session, new_ids)
    _note_model(connection, copy)
    return Imported(copy, info.id if new_ids else "", session.left_out)


def _is_any_there(connection: sqlite3.Connection, table: str, ids: Sequence[str]) -> bool:
    for start in range(0, len(ids), _IDS_IN_A_QUESTION):
        some = ids[start : start + _IDS_IN_A_QUESTION]
        question = f"SELECT 1 FROM {table} WHERE id IN ({', '.join('?' * len(some))}) LIMIT 1"
        if connection.execute(question, some).fetchone():
            return True
    return False


def _insert_session(connection: sqlite3.Connection, info: SessionInfo, leaf_id: str | None) -> None:
    connection.execute(
        "INSERT INTO sessions "
        "(id, title, created_at, updated_at, touched, date, model, leaf_id, message_count) VALUES "
        "(?, CAST(? AS TEXT), ?, ?, 0, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?)",
        (
            *(info.id, storable(info.title), info.created_at, info.updated_at),
            *(storable(info.date), storable(info.model), leaf_id, info.message_count),
        ),
    )


def _insert_message(
    connection: sqlite3.Connection,
    session_id: str,
    message: Message,
    session: FileSession,
    new_ids: dict[str, str],
) -> None:
    stored = _as_ended(_renamed(message, new_ids))
    replies.insert_message(connection, session_id, stored)
    if model := session.record.models.get(message.id):
        connection.execute(
            "UPDATE replies SET model_id = ? WHERE message_id = ?", (_model_id(connection, model), stored.id)
        )
    if packed := session.packed_of(message.id):
        connection.execute("INSERT INTO token_archives VALUES (?, ?)", (stored.id, packed.archive))
        connection.executemany(
            "INSERT INTO sampling_changes VALUES (?, ?, ?)",
            [(stored.id, place, sampling_json(sampling)) for place, sampling in packed.sampling_changes],
        )


def _renamed(message: Message, new_ids: dict[str, str]) -> Message:
    """The message under its new ids, if there are any."""
    reply = message.reply
    if reply is not None and reply.context_start is not None:
        reply = replace(reply, context_start=new_ids.get(reply.context_start, reply.context_start))
    parent_id = message.parent_id
    return replace(
        message,
        id=new_ids.get(message.id, message.id),
        parent_id=parent_id and new_ids.get(parent_id, parent_id),
        reply=reply,
    )


def _as_ended(message: Message) -> Message:
    """The message; a reply that was being written when it was exported is written by nobody here."""
    if message.reply is None or message.reply.finish_reason is not None:
        return message
    return replace(message, reply=replace(message.reply, finish_reason="interrupted"))


def _model_id(connection: sqlite3.Connection, model: ModelRecord) -> int:
    """The row of the model; one that is there keeps its own path, which is of this machine."""
    known = (model.name, model.fingerprint, model.engine, model.device, model.dtype, model.template)
    connection.execute(
        "INSERT INTO models (name, fingerprint, engine, device, dtype, template, path) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*known, model.path),
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


def _make_last(connection: sqlite3.Connection, infos: Sequence[SessionInfo]) -> None:
    """Put the sessions before those that were there, in their own order by time."""
    (last,) = connection.execute("SELECT coalesce(max(touched), 0) FROM sessions").fetchone()
    in_order = sorted(infos, key=lambda info: info.updated_at)
    connection.executemany(
        "UPDATE sessions SET touched = ? WHERE id = ?",
        [(last + place, info.id) for place, info in enumerate(in_order, 1)],
    )
