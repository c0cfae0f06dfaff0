"""A reply that had ended goes on, with the text and ids that its tokens tell; what never ended goes.

Statements only; the transactions are the caller's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from llama_chat.conversation import Message
from llama_chat.errors import StoreError
from llama_chat.sessions import replies
from llama_chat.sessions.database import storable
from llama_chat.sessions.lease import build_lease
from llama_chat.sessions.records import MESSAGE_COLUMNS, ids_blob, message_from

_CUT = "\ufffd"
_OF_TOKENS = {
    "tokens": "place, token_id, piece, text, chosen_by, logprob, rank, seconds, candidates, "
    "forward_start, forward_rows",
    "token_archives": "packed",
    "sampling_changes": "place, sampling",
}


def stored_message(connection: sqlite3.Connection, session_id: str, message_id: str) -> Message | None:
    """The message as it is now: a reply without an end has all its committed text."""
    row = connection.execute(
        f"SELECT {MESSAGE_COLUMNS} FROM messages m LEFT JOIN replies r ON r.message_id = m.id "
        "WHERE m.id = ? AND m.session_id = ?",
        (message_id, session_id),
    ).fetchone()
    if row is None:
        return None
    message = message_from(row)
    if message.reply is not None and message.reply.finish_reason is None:
        return replies.with_progress(connection, message)
    return message


def readable_text(connection: sqlite3.Connection, message: Message) -> str:
    """The text without the mark of a character that was cut where the reply ended.

    The mark is in no token's text, and what comes next completes the character.
    """
    if message.reply is None or not message.text.endswith(_CUT):
        return message.text
    tokens, _ = replies.tokens_of(connection, message.id, with_candidates=False)
    is_whole = tuple(token.token_id for token in tokens) == message.reply.token_ids
    return "".join(token.text for token in tokens) if is_whole else message.text


def reopened(message: Message, text: str) -> Message:
    """The message without its end."""
    assert message.reply is not None
    return replace(message, text=text, reply=replace(message.reply, finish_reason=None, error=""))


def reopen(connection: sqlite3.Connection, message: Message) -> None:
    """Take the end back as `reopened` did, and note that this process goes on with the reply."""
    assert message.reply is not None
    connection.execute(
        "UPDATE messages SET text = CAST(? AS TEXT) WHERE id = ?", (storable(message.text), message.id)
    )
    connection.execute(
        "UPDATE replies SET finish_reason = NULL, error = '', token_ids = ?, decode_s = ? "
        "WHERE message_id = ?",
        (ids_blob(message.reply.token_ids), message.reply.decode_s, message.id),
    )
    replies.forget_end_sampling(connection, message.id, len(message.reply.token_ids))
    replies.take_lease(connection, message.id, build_lease())


def copy_tokens(connection: sqlite3.Connection, message_id: str, copy_id: str) -> None:
    """Let the copy of a reply have its tokens, its settings by token and its model; may be repeated."""
    for table, columns in _OF_TOKENS.items():
        connection.execute(
            f"INSERT OR IGNORE INTO {table} (message_id, {columns}) "
            f"SELECT ?, {columns} FROM {table} WHERE message_id = ?",
            (copy_id, message_id),
        )
    connection.execute(
        "UPDATE replies SET model_id = (SELECT model_id FROM replies WHERE message_id = ?) "
        "WHERE message_id = ?",
        (message_id, copy_id),
    )


def check_unchanged(connection: sqlite3.Connection, stored: Message, message: Message) -> None:
    """Make sure that nobody else goes on with the reply, or has done so since the message was read.

    Raises:
        StoreError: somebody does, or has.
    """
    assert stored.reply is not None
    assert message.reply is not None
    if stored.reply.finish_reason is None and replies.writer_of(connection, message.id) != build_lease():
        raise StoreError(
            f"Reply {message.id} is being written by another chat.",
            hint="Regenerate it here: that makes a branch.",
        )
    if stored.reply.token_ids != message.reply.token_ids:
        raise StoreError(
            f"Reply {message.id} has {len(stored.reply.token_ids)} tokens in the store, not the "
            f"{len(message.reply.token_ids)} that it is to be continued from.",
            hint="Open the session again: another chat may have gone on with it.",
        )


def forget(
    connection: sqlite3.Connection, session_id: str, message_ids: Sequence[str], leaf_id: str | None
) -> None:
    """Delete messages that nothing follows; a path that led to one leads to this leaf. May be repeated."""
    deleted = connection.executemany(
        "DELETE FROM messages WHERE session_id = ? AND id = ? "
        "AND NOT EXISTS (SELECT 1 FROM messages below WHERE below.parent_id = messages.id)",
        [(session_id, message_id) for message_id in message_ids],
    ).rowcount
    connection.execute(  # a leaf that is deleted becomes NULL
        "UPDATE sessions SET leaf_id = coalesce(leaf_id, ?), message_count = message_count - ? WHERE id = ?",
        (leaf_id, max(0, deleted), session_id),
    )
