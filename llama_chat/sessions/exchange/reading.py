"""Sessions out of JSON Lines (`jsonl` describes them): one in memory at a time, nothing taken on trust."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import getsizeof
from typing import Any, BinaryIO, get_args

from llama_chat.alteration import parse_alteration
from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.errors import UsageError
from llama_chat.events import ComputePlan, FinishReason, Forward, Sampling, Token
from llama_chat.sessions.archive import unpack_archive
from llama_chat.sessions.exchange.archive_check import check_archive
from llama_chat.sessions.exchange.fields import (
    LATEST_TIME,
    LONGEST_NAME,
    BadValueError,
    ExchangeError,
    Fields,
    is_whole,
    plain_dataclass,
    shown,
)
from llama_chat.sessions.exchange.jsonl import FORMAT, VERSION
from llama_chat.sessions.exchange.lines import Line, at_line, changed, lines_of, value_at
from llama_chat.sessions.exchange.records import FileSession, PackedTokens
from llama_chat.sessions.records import ModelRecord, SessionInfo, SessionRecord

_ROLES = tuple(role.value for role in Role)
_REASONS: tuple[str, ...] = get_args(FinishReason)
_WHOLE = 2**63 - 1
_IDS = 2**32 - 1
_LONGEST_S = 1e9
_MOST_IDS = 200_000
"""Tokens of one reply."""
_MOST_MODELS = 1000
"""Of one session."""
_MOST_MEMORY_BYTES = 512_000_000
"""That one session may take: its texts, ids and plans, not its packed tokens."""


def read_jsonl(file: BinaryIO, path: Path, name: str, *, is_checked: bool = False) -> Iterator[FileSession]:
    """The sessions of the open file, each when its last line was checked.

    Args:
        file: at its beginning.
        path: where tokens are read again when they are asked for.
        name: of the file in errors.
        is_checked: the packed tokens were looked into when the same file was read before.

    Raises:
        ExchangeError: the file is no whole export; it names the line.
    """
    lines = lines_of(file, name)
    seen: set[int] = set()
    last = Line(0, 0, None)
    for last in lines:
        session = _attempt(name, last, lambda line: _Session(path, line, seen, is_checked))
        while session.expects > 0:
            line = next(lines, None)
            if line is None:
                got = len(session.messages)
                what = f"the file ends after {got} of the {got + session.expects} messages of this session"
                raise at_line(name, last.number, what)
            _attempt(name, line, session.add)
        yield _attempt(name, last, session.finished)
    if last.number == 0:
        raise ExchangeError(f"{name} is empty.")


def _attempt(name: str, line: Line, work: Any) -> Any:
    try:
        return work(line)
    except BadValueError as error:
        raise at_line(name, line.number, str(error)) from error


class _Session:
    """A session that is being read: begun by its own line, grown by those of its messages."""

    def __init__(self, path: Path, line: Line, seen: set[int], is_checked: bool) -> None:
        self._path = path
        self._is_checked = is_checked
        self._seen = seen
        self.messages: dict[str, Message] = {}
        self._model_of: dict[str, ModelRecord] = {}
        self._offsets: dict[str, int] = {}
        values = Fields(line.value, "the line")
        _check_form(values)
        count = values.whole("messages", 0, 10**9)
        self.expects = count
        self._leaf_id = values.id_or_none("leaf_id")
        self._memory_bytes = 0
        models = values.list("models", most=_MOST_MODELS)
        self._models = [plain_dataclass(ModelRecord, value, "a model") for value in models]
        self._info = SessionInfo(
            id=self._new_id(values),
            title=values.text("title", longest=LONGEST_NAME),
            created_at=values.number("created_at", 0, LATEST_TIME),
            updated_at=values.number("updated_at", 0, LATEST_TIME),
            model=values.name("model"),
            date=values.date("date"),
            message_count=count,
        )
        values.end()

    def add(self, line: Line) -> None:
        """Take the line of a message.

        Raises:
            BadValueError: what is wrong with it.
        """
        if isinstance(line.value, Mapping) and "format" in line.value:
            raise BadValueError(f"a session begins where {self.expects} messages should follow")
        values = Fields(line.value, "the message")
        message_id = self._new_id(values)
        role = values.one_of("role", _ROLES)
        parent_id = values.id_or_none("parent_id")
        if parent_id is not None and parent_id not in self.messages:
            raise BadValueError(f"no line before it is its parent {parent_id} (it is missing, or a cycle)")
        text, created_at = values.text("text"), values.number("created_at", 0, LATEST_TIME)
        parts = _reply_parts(values.take("reply"), self._models, self._is_checked)
        values.end()
        if parts is not None and role != Role.ASSISTANT:
            raise BadValueError("only an assistant's message has a reply")
        reply = parts.reply if parts else None
        self.messages[message_id] = Message(message_id, parent_id, Role(role), text, created_at, reply)
        self._memory_bytes += _memory_bytes(text, reply)
        if self._memory_bytes > _MOST_MEMORY_BYTES:
            raise BadValueError(f"the session takes more than {_MOST_MEMORY_BYTES:,} bytes of memory")
        self.expects -= 1
        if parts and parts.model:
            self._model_of[message_id] = parts.model
        if parts and parts.tokens:
            self._offsets[message_id] = line.offset

    def finished(self, _line: Line) -> FileSession:
        """The session, with its path."""
        if self._leaf_id is not None and self._leaf_id not in self.messages:
            raise BadValueError(f"the session's 'leaf_id' {self._leaf_id} is none of its messages")
        conversation = Conversation(self.messages, self._leaf_id)
        record = SessionRecord(
            self._info,
            conversation,
            self._model_of,
            self._tokens_of,
            self._plain_tokens_of,
            end_sampling_of=self._end_sampling_of,
        )
        return FileSession(record, self._packed_of)

    def _new_id(self, values: Fields) -> str:
        found = values.id("id")
        number = int(found, 16)  # a tenth less memory than the text
        if number in self._seen:
            raise BadValueError(f"the id {found} is in the file twice")
        self._seen.add(number)
        return found

    def _packed_of(self, message_id: str) -> PackedTokens | None:
        if message_id not in self._offsets:
            return None
        value = value_at(self._path, self._offsets[message_id])
        try:
            parts = _reply_parts(value.get("reply"), self._models, self._is_checked)
        except (AttributeError, BadValueError) as error:
            raise changed(self._path) from error
        if value.get("id") != message_id or parts is None:
            raise changed(self._path)
        return parts.tokens

    def _end_sampling_of(self, message_id: str) -> Sampling | None:
        packed, reply = self._packed_of(message_id), self.messages[message_id].reply
        changes = packed.sampling_changes if packed else ()
        return next(
            (sampling for place, sampling in changes if reply and place >= len(reply.token_ids)), None
        )

    def _plain_tokens_of(self, message_id: str) -> Sequence[Token]:
        return self._tokens_of(message_id, with_candidates=False)

    def _tokens_of(self, message_id: str, *, with_candidates: bool = True) -> Sequence[Token]:
        packed = self._packed_of(message_id)
        reply = self.messages[message_id].reply
        if packed is None or reply is None:
            return []
        samplings = [(0, reply.sampling), *packed.sampling_changes]
        return unpack_archive(packed.archive, samplings, with_candidates=with_candidates)


def _check_form(values: Fields) -> None:
    if values.take("format") != FORMAT:
        raise BadValueError("this is no session of llama-chat; another program wrote it")
    version = values.whole("version", 1, _WHOLE)
    if version > VERSION:
        raise BadValueError(
            f"it was written by a newer llama-chat (form {version}, this one knows {VERSION})"
        )


@dataclass(frozen=True, slots=True)
class _ReplyParts:
    reply: Reply
    model: ModelRecord | None
    tokens: PackedTokens | None = field(default=None)


def _reply_parts(value: object, models: Sequence[ModelRecord], is_checked: bool) -> _ReplyParts | None:
    """The checked reply with what belongs to it; None where there is none."""
    if value is None:
        return None
    values = Fields(value, "the reply")
    reason = values.take("finish_reason")
    if reason is not None and reason not in _REASONS:
        raise BadValueError(f"'finish_reason' should be one of {', '.join(_REASONS)}, not {shown(reason)}")
    place = values.take("model_record")
    if place is not None and not is_whole(place, 0, len(models) - 1):
        raise BadValueError(f"'model_record' should count the session's models, not be {shown(place)}")
    reply = Reply(
        seed=values.whole("seed", 0, _WHOLE),
        sampling=plain_dataclass(Sampling, values.take("sampling"), "the sampling"),
        model=values.name("model"),
        token_ids=_ids(values.list("token_ids", most=_MOST_IDS)),
        finish_reason=reason,
        error=values.text("error"),
        prompt_tokens=values.whole("prompt_tokens", 0, _IDS),
        reused_tokens=values.whole("reused_tokens", 0, _IDS),
        prefill_s=values.number("prefill_s", 0, _LONGEST_S),
        decode_s=values.number("decode_s", 0, _LONGEST_S),
        context_start=values.id_or_none("context_start"),
        plan=_plan(values.take("plan")),
    )
    tokens = _packed(values.take("tokens"), reply, is_checked)
    values.end()
    return _ReplyParts(reply, None if place is None else models[place], tokens)


def _memory_bytes(text: str, reply: Reply | None) -> int:
    """What a message takes, about: an id of a large vocabulary 36 bytes, a forward of a plan 100."""
    forwards = reply.plan.forwards if reply is not None and reply.plan is not None else ()
    return 1000 + getsizeof(text) + 36 * len(reply.token_ids if reply else ()) + 100 * len(forwards)


def _ids(values: list[Any]) -> tuple[int, ...]:
    if not all(is_whole(value, 0, _IDS) for value in values):
        raise BadValueError("'token_ids' should be whole numbers below 2**32")
    return tuple(values)


def _plan(value: object) -> ComputePlan | None:
    if value is None:
        return None
    values = Fields(value, "the plan")
    forwards = tuple(map(_forward, values.list("forwards")))
    threads = values.whole("threads", 0, _IDS)
    plan = plain_dataclass(ComputePlan, value, "the plan", forwards=forwards, threads=threads)
    try:
        parse_alteration(plan.alteration)
    except UsageError as error:
        raise BadValueError(f"'alteration' of the plan is none: {error.message}") from error
    return plan


def _forward(value: object) -> Forward:
    values = Fields(value, "a forward")
    start, rows, kept = (values.whole(name, 0, _IDS) for name in ("start", "rows", "kept"))
    kind = values.one_of("kind", ("prefill", "step"))
    values.end()
    return Forward(start, rows, kept, "prefill" if kind == "prefill" else "step")


def _packed(value: object, reply: Reply, is_checked: bool) -> PackedTokens | None:
    if value is None:
        return None
    values = Fields(value, "the tokens")
    values.take("readable")
    try:
        archive = b64decode(values.text("packed"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadValueError(f"'packed' is not base64 ({error})") from error
    if not is_checked:
        _check_ids(archive, reply.token_ids)
    changes = [_change(each) for each in values.list("sampling_changes")]
    if [place for place, _ in changes] != sorted({place for place, _ in changes}):
        raise BadValueError("'sampling_changes' should rise from token to token")
    values.end()
    return PackedTokens(archive, tuple(changes))


def _check_ids(archive: bytes, known: Sequence[int]) -> None:
    """Make sure that the blob can be unpacked, and to these tokens."""
    indices, ids = check_archive(archive)
    if any(i >= len(known) or known[i] != token_id for i, token_id in zip(indices, ids, strict=True)):
        raise BadValueError("the packed tokens are not those of 'token_ids'")


def _change(value: object) -> tuple[int, Sampling]:
    if not (isinstance(value, list) and len(value) == 2 and is_whole(value[0], 0, _IDS)):
        raise BadValueError("a change of the sampling should be a list of a token's place and its settings")
    return value[0], plain_dataclass(Sampling, value[1], "the sampling")
