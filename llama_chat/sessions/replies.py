"""A reply in the store: begun with a lease, grown token by token, ended, packed.

Statements only; the transactions are the caller's.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_chat.compute_plan import with_steps
from llama_chat.conversation import Message
from llama_chat.errors import StoreError
from llama_chat.events import Candidates, Prefilled, Sampling, Token
from llama_chat.sessions.archive import piece_to_keep, sampling_at, unpack_archive
from llama_chat.sessions.database import storable, storable_time
from llama_chat.sessions.failures import UNREADABLE
from llama_chat.sessions.lease import Lease, is_alive
from llama_chat.sessions.packing import pack_candidates, unpack_candidates
from llama_chat.sessions.records import (
    NO_CANDIDATES,
    plan_json,
    readable_sampling,
    reply_values,
    sampling_from,
    sampling_json,
)


def insert_message(connection: sqlite3.Connection, session_id: str, message: Message) -> int:
    """1 when the message was put in, 0 when it was there: a call may be repeated after an unclear failure."""
    inserted = connection.execute(
        "INSERT INTO messages (id, session_id, parent_id, role, text, created_at) "
        "VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?) ON CONFLICT (id) DO NOTHING",
        (
            message.id,
            session_id,
            message.parent_id,
            message.role.value,
            storable(message.text),
            storable_time(message.created_at),
        ),
    ).rowcount
    if message.reply is not None and inserted:
        values = _storable_values(message) | {"session_id": session_id}
        connection.execute(_INSERT_REPLY, values)
    return inserted


def _storable_values(message: Message) -> dict[str, Any]:
    reply = message.reply
    assert reply is not None
    texts = {"model": storable(reply.model), "error": storable(reply.error)}
    return reply_values(reply) | texts | {"message_id": message.id}


_INSERT_REPLY = """
    INSERT INTO replies (message_id, model, model_id, seed, sampling, token_ids, finish_reason, error,
        prompt_tokens, reused_tokens, prefill_s, decode_s, context_start, plan)
    VALUES (:message_id, CAST(:model AS TEXT), (SELECT model_id FROM sessions WHERE id = :session_id), :seed,
        :sampling, :token_ids, :finish_reason, CAST(:error AS TEXT), :prompt_tokens, :reused_tokens,
        :prefill_s, :decode_s, :context_start, :plan)"""

_UPDATE_REPLY = """
    UPDATE replies SET model = CAST(:model AS TEXT), seed = :seed, sampling = :sampling,
        token_ids = :token_ids, finish_reason = :finish_reason, error = CAST(:error AS TEXT),
        prompt_tokens = :prompt_tokens, reused_tokens = :reused_tokens, prefill_s = :prefill_s,
        decode_s = :decode_s, context_start = :context_start, plan = :plan
    WHERE message_id = :message_id"""


def take_lease(connection: sqlite3.Connection, message_id: str, lease: Lease) -> None:
    """Note which process writes the reply."""
    connection.execute(
        "INSERT OR REPLACE INTO leases (message_id, pid, boot_id, started) VALUES (?, ?, ?, ?)",
        (message_id, lease.pid, lease.boot_id, lease.started),
    )


def note_prefill(connection: sqlite3.Connection, message_id: str, prefilled: Prefilled) -> None:
    """Keep what is known before the first token, for the case that the end never comes.

    What the prompt of a continued reply took stays what it was when it began.
    """
    connection.execute(
        "UPDATE replies SET prompt_tokens = ?, reused_tokens = ?, prefill_s = ? "
        "WHERE message_id = ? AND length(token_ids) = 0",
        (prefilled.prompt_tokens, prefilled.reused_tokens, prefilled.seconds, message_id),
    )
    if prefilled.plan is not None:
        connection.execute(
            "UPDATE replies SET plan = ? WHERE message_id = ?", (plan_json(prefilled.plan), message_id)
        )


def insert_tokens(connection: sqlite3.Connection, message_id: str, tokens: Sequence[Token]) -> None:
    """Put the next tokens of a running reply in; those that are there already are left as they are."""
    in_force = _sampling_in_force(connection, message_id)
    for token in tokens:
        if token.sampling != in_force:
            in_force = token.sampling
            _insert_change(connection, message_id, token.index, in_force)
    connection.executemany(
        "INSERT INTO tokens (message_id, place, token_id, piece, text, chosen_by, logprob, rank, seconds, "
        "candidates, forward_start, forward_rows) "
        "VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [_token_row(message_id, token) for token in tokens],
    )


def note_sampling(connection: sqlite3.Connection, message_id: str, place: int, sampling: Sampling) -> None:
    """Keep the settings of the choice at this place, behind all tokens, if they are not those in force."""
    if sampling != _sampling_in_force(connection, message_id):
        _insert_change(connection, message_id, place, sampling)


def end_sampling(connection: sqlite3.Connection, message_id: str) -> Sampling | None:
    """The settings that were noted behind the last token; None where there are none."""
    row = connection.execute(
        "SELECT sampling FROM sampling_changes WHERE message_id = :id AND place >= "
        "(SELECT length(token_ids) / 4 FROM replies WHERE message_id = :id) ORDER BY place LIMIT 1",
        {"id": message_id},
    ).fetchone()
    return row and sampling_from(row[0])


def forget_end_sampling(connection: sqlite3.Connection, message_id: str, tokens: int) -> None:
    """The reply goes on behind these tokens: what its end was drawn with is no longer in force."""
    connection.execute(
        "DELETE FROM sampling_changes WHERE message_id = ? AND place >= ?", (message_id, tokens)
    )


def _insert_change(connection: sqlite3.Connection, message_id: str, place: int, sampling: Sampling) -> None:
    connection.execute(
        "INSERT INTO sampling_changes VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (message_id, place, sampling_json(sampling)),
    )


def _token_row(message_id: str, token: Token) -> tuple[Any, ...]:
    return (
        *(message_id, token.index, token.token_id, piece_to_keep(token), storable(token.text)),
        *(token.chosen_by, token.logprob, token.rank, token.seconds, pack_candidates(token.candidates)),
        *(token.forward or (None, None)),
    )


def _sampling_in_force(connection: sqlite3.Connection, message_id: str) -> Sampling:
    (text,) = connection.execute(
        "SELECT coalesce("
        "(SELECT sampling FROM sampling_changes WHERE message_id = :id ORDER BY place DESC LIMIT 1), "
        "(SELECT sampling FROM replies WHERE message_id = :id))",
        {"id": message_id},
    ).fetchone()
    if text is None:
        raise StoreError(f"message {message_id} is no reply in the store.")
    return sampling_from(text)


def end_reply(connection: sqlite3.Connection, message: Message) -> None:
    """Replace text and record by the final ones, and give the lease back."""
    assert message.reply is not None
    connection.execute(
        "UPDATE messages SET text = CAST(? AS TEXT) WHERE id = ?", (storable(message.text), message.id)
    )
    connection.execute(_UPDATE_REPLY, _storable_values(message))
    connection.execute("DELETE FROM leases WHERE message_id = ?", (message.id,))


def is_running(connection: sqlite3.Connection, message_id: str) -> bool:
    """Whether the reply has no end in the store."""
    found = connection.execute(
        "SELECT 1 FROM replies WHERE message_id = ? AND finish_reason IS NULL", (message_id,)
    )
    return found.fetchone() is not None


def with_progress(connection: sqlite3.Connection, message: Message) -> Message:
    """The running reply with all that is committed of it; "interrupted" when nobody alive writes it."""
    assert message.reply is not None
    known = len(message.reply.token_ids)  # a continued reply begins with ids and text of its own
    rows = connection.execute(
        "SELECT place, token_id, text, seconds, forward_start, forward_rows FROM tokens "
        "WHERE message_id = ? ORDER BY place",
        (message.id,),
    ).fetchall()
    fresh = [row for row in rows if row[0] >= known]
    token_ids = message.reply.token_ids + tuple(row[1] for row in fresh)
    plan, before = message.reply.plan, message.reply.prompt_tokens - 1
    shapes = {before + row[0]: (row[4], row[5]) for row in fresh if type(row[4]) is type(row[5]) is int}
    return replace(
        message,
        text=message.text + "".join(row[2] for row in fresh),
        reply=replace(
            message.reply,
            token_ids=token_ids,
            plan=plan and with_steps(plan, before + len(token_ids), shapes),
            decode_s=message.reply.decode_s + sum(row[3] for row in fresh[1:]),
            finish_reason=None if _has_writer(connection, message.id) else "interrupted",
        ),
    )


def writer_of(connection: sqlite3.Connection, message_id: str) -> Lease | None:
    """The process that writes the reply, or did so last; None when nobody does."""
    row = connection.execute(
        "SELECT pid, boot_id, started FROM leases WHERE message_id = ?", (message_id,)
    ).fetchone()
    return None if row is None else Lease(*row)


def _has_writer(connection: sqlite3.Connection, message_id: str) -> bool:
    writer = writer_of(connection, message_id)
    return writer is not None and is_alive(writer)


def sessions_with_dead_replies(connection: sqlite3.Connection) -> list[str]:
    """The sessions that hold a reply without an end which nobody alive writes."""
    rows = connection.execute(
        "SELECT m.session_id, r.message_id FROM replies r JOIN messages m ON m.id = r.message_id "
        "WHERE r.finish_reason IS NULL"
    ).fetchall()
    found = {session_id: None for session_id, message_id in rows if not _has_writer(connection, message_id)}
    return list(found)


def tokens_of(
    connection: sqlite3.Connection, message_id: str, *, with_candidates: bool = True
) -> tuple[list[Token], bool]:
    """The tokens of a reply by index, from its archive and its rows; and whether some of it is damaged.

    What is damaged is left out: the tokens of an archive, the candidates of a row.
    """
    base = connection.execute("SELECT sampling FROM replies WHERE message_id = ?", (message_id,)).fetchone()
    if base is None:
        raise StoreError(f"message {message_id} is no reply in the store.")
    changes = connection.execute(
        "SELECT place, sampling FROM sampling_changes WHERE message_id = ? ORDER BY place", (message_id,)
    )
    samplings = [(0, readable_sampling(base[0]))]
    samplings += [(place, readable_sampling(text)) for place, text in changes]
    archive = connection.execute(
        "SELECT packed FROM token_archives WHERE message_id = ?", (message_id,)
    ).fetchone()
    rows, is_damaged = _tokens_in_rows(connection, message_id, samplings)
    packed: list[Token] = []
    try:
        packed = unpack_archive(archive[0], samplings, with_candidates=with_candidates) if archive else []
    except UNREADABLE:
        is_damaged = True
    found = {token.index: token for token in [*rows, *packed]}
    return [found[index] for index in sorted(found)], is_damaged


def _tokens_in_rows(
    connection: sqlite3.Connection, message_id: str, samplings: Sequence[tuple[int, Sampling]]
) -> tuple[list[Token], bool]:
    rows = connection.execute(
        "SELECT place, token_id, piece, text, chosen_by, logprob, rank, candidates, seconds FROM tokens "
        "WHERE message_id = ? ORDER BY place",
        (message_id,),
    ).fetchall()
    in_force = sampling_at(samplings, [row[0] for row in rows])
    tokens = [_token_from(row, sampling) for row, sampling in zip(rows, in_force, strict=True)]
    return tokens, any(token.candidates is NO_CANDIDATES for token in tokens)


def _token_from(row: tuple[Any, ...], sampling: Sampling) -> Token:
    index, token_id, piece, text, chosen_by, logprob, rank, packed, seconds = row
    try:
        candidates: Candidates = unpack_candidates(packed)
    except UNREADABLE:
        candidates = NO_CANDIDATES
    return Token(
        index=index,
        token_id=token_id,
        piece=text.encode("utf-8", "surrogatepass") if piece is None else piece,
        text=text,
        chosen_by=chosen_by,
        logprob=math.nan if logprob is None else logprob,
        rank=rank,
        candidates=candidates,
        seconds=seconds,
        sampling=sampling,
    )


def archive_of(connection: sqlite3.Connection, message_id: str) -> bytes | None:
    """All tokens of the reply, packed; None where none are, or some are still in rows."""
    row = connection.execute(
        "SELECT packed FROM token_archives WHERE message_id = :id "
        "AND NOT EXISTS (SELECT 1 FROM tokens WHERE message_id = :id)",
        {"id": message_id},
    ).fetchone()
    return row and bytes(row[0])


def row_count(connection: sqlite3.Connection, message_id: str) -> int:
    """How many tokens of the reply are not packed."""
    (count,) = connection.execute(
        "SELECT count(*) FROM tokens WHERE message_id = ?", (message_id,)
    ).fetchone()
    return int(count)


def replace_rows(connection: sqlite3.Connection, message_id: str, packed: bytes) -> None:
    """Put the packed tokens in the place of their rows."""
    connection.execute("INSERT OR REPLACE INTO token_archives VALUES (?, ?)", (message_id, packed))
    connection.execute("DELETE FROM tokens WHERE message_id = ?", (message_id,))
