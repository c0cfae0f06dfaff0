"""Sessions as JSON Lines: everything that is known of them, so that reading gives back an equal session.

UTF-8, one object a line, no line over 32 MB. Characters that command a terminal are written by their number.
A file holds any number of sessions: a line for the session, then one for each of its messages, parents first.

The line of a session:
    format          "llama-chat session"
    version         1; a newer form of this file has a greater one
    id              16 hexadecimal digits
    title, model    texts; the model is the one that the session last ran
    created_at, updated_at      Unix time in seconds
    date            the ISO date that the template is given, or ""
    leaf_id         the message at the end of the path that is shown, or null
    messages        how many lines of messages follow
    models          what wrote the replies: name, fingerprint, engine, device, dtype, template, path,
                    vocabulary (a digest of its tokens) of each

The line of a message:
    id              16 hexadecimal digits
    parent_id       a message of an earlier line of the session, or null
    role            "system", "user" or "assistant"
    text            as it was written
    created_at      Unix time in seconds
    reply           null, or for what a model wrote an object of
        seed            of the chance
        sampling        the settings when it began: temperature, top_k, top_p, min_p, ...
        model           its name
        model_record    which of the session's `models`, counted from 0, or null
        token_ids       all of the reply
        finish_reason   "end", "length", "stopped", "interrupted", "failed"; null if it was being written
        error           what went wrong, or ""
        prompt_tokens, reused_tokens, prefill_s, decode_s       figures
        context_start   the oldest message (but the system prompt) that the model saw; null: all of them
        plan            how it was computed (`events.ComputePlan`), or null
        tokens          null where they were not kept, or an object of
            packed              base64 of `archive.pack_archive`: id, bytes, text, who chose it,
                                log-probability, rank, seconds and candidates of every token
            sampling_changes    [token, sampling] for every change of the settings, by the token it came with;
                                behind the last token, by the end of the reply
            readable            for people and jq: text, logprob, rank, seconds and chosen_by of each token;
                                it says what `packed` says, and reading a file passes over it
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from llama_chat.conversation import Message, Reply
from llama_chat.errors import StoreError
from llama_chat.events import Sampling, Token
from llama_chat.sanitize import UNSAFE
from llama_chat.sessions.archive import pack_archive
from llama_chat.sessions.records import ModelRecord, SessionRecord, spelled_out

FORMAT = "llama-chat session"
VERSION = 1
MOST_LINE_BYTES = 32_000_000
"""A reply of 70,000 tokens with their candidates takes so much (450 bytes each, measured 2026-11)."""


def jsonl_lines(record: SessionRecord) -> Iterator[str]:
    """The lines of the session, each with its line break.

    Raises:
        StoreError: a line would be longer than any reader takes.
    """
    models = list(dict.fromkeys(record.models.values()))
    yield _line(_session_data(record, models))
    for message in record.conversation.messages.values():
        model = record.models.get(message.id)
        yield _line(_message_data(message, record, None if model is None else models.index(model)))


def message_data(message: Message, tokens: Sequence[Token]) -> dict[str, Any]:
    """The message with its tokens as plain data, nothing of it packed; for `--json`."""
    whole = replace(message, reply=spelled_out(message.reply)) if message.reply else message
    data = asdict(whole) | {"role": message.role.value}
    if message.reply is not None:
        data["reply"]["tokens"] = [_token_data(token) for token in tokens]
    return data


def _token_data(token: Token) -> dict[str, Any]:
    candidates = token.candidates
    return {
        "index": token.index,
        "token_id": token.token_id,
        "text": token.text,
        "chosen_by": token.chosen_by,
        "logprob": _finite(token.logprob),
        "rank": token.rank,
        "seconds": token.seconds,
        "sampling": asdict(token.sampling),
        "candidates": [
            {
                "token_id": each.token_id,
                "logit": _finite(each.logit),
                "logprob": _finite(each.penalised - candidates.logsumexp),
            }
            for each in candidates
        ],
    }


def _session_data(record: SessionRecord, models: Sequence[ModelRecord]) -> dict[str, Any]:
    info = record.info
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": info.id,
        "title": info.title,
        "model": info.model,
        "created_at": info.created_at,
        "updated_at": info.updated_at,
        "date": info.date,
        "leaf_id": record.conversation.leaf_id,
        "messages": len(record.conversation.messages),
        "models": [asdict(model) for model in models],
    }


def _message_data(message: Message, record: SessionRecord, model_record: int | None) -> dict[str, Any]:
    return {
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role.value,
        "text": message.text,
        "created_at": message.created_at,
        "reply": message.reply and _reply_data(message, message.reply, record, model_record),
    }


def _reply_data(
    message: Message, reply: Reply, record: SessionRecord, model_record: int | None
) -> Mapping[str, Any]:
    archive = record.archive_of(message.id) if record.archive_of else None
    tokens: Sequence[Token] = []
    if archive is not None and record.plain_tokens_of:
        tokens = record.plain_tokens_of(message.id)  # packing anew takes 0.6 s for 1,000 tokens
    if archive is None or _is_beyond(reply, tokens):
        tokens = [token for token in record.tokens_of(message.id) if token.index < len(reply.token_ids)]
        archive = pack_archive(tokens)
    return asdict(spelled_out(reply)) | {
        "model_record": model_record,
        "tokens": _tokens_data(reply, tokens, archive, record.end_sampling_of(message.id))
        if tokens
        else None,
    }


def _is_beyond(reply: Reply, tokens: Sequence[Token]) -> bool:
    """Whether a chat has written more of the reply since the record was made."""
    return bool(tokens) and tokens[-1].index >= len(reply.token_ids)


def _tokens_data(
    reply: Reply, tokens: Sequence[Token], archive: bytes, at_end: Sampling | None
) -> Mapping[str, Any]:
    changes = []
    in_force = reply.sampling
    for token in tokens:
        if token.sampling != in_force:
            in_force = token.sampling
            changes.append([token.index, asdict(in_force)])
    if at_end is not None and at_end != in_force:
        changes.append([len(reply.token_ids), asdict(at_end)])
    return {
        "readable": {
            "text": [token.text for token in tokens],
            "logprob": [_finite(token.logprob) for token in tokens],
            "rank": [token.rank for token in tokens],
            "seconds": [_finite(token.seconds) for token in tokens],
            "chosen_by": [token.chosen_by for token in tokens],
        },
        "sampling_changes": changes,
        "packed": b64encode(archive).decode(),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _line(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    if not text.isprintable():
        while UNSAFE.search(text):  # a joiner may stand before a letter once what followed it is spelt out
            text = UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)
    if len(text) > MOST_LINE_BYTES // 4 and len(text.encode()) >= MOST_LINE_BYTES:
        raise StoreError(f"message {data.get('id')} is too long for a line of JSONL.")
    return f"{text}\n"
