"""Dataclasses to rows and back; small ones are kept as JSON and come back equal."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llama_chat.conversation import Conversation, Message, Reply, Role
from llama_chat.events import Candidates, ComputePlan, Forward, Sampling, Token
from llama_chat.sessions.failures import UNREADABLE
from llama_chat.sessions.short_forwards import ShortForwards, short_text

if TYPE_CHECKING:
    from llama_chat.distribution.names import TokenNames

NO_CANDIDATES = Candidates(array("i"), array("f"), array("f"), array("i"), array("f"), float("nan"))
"""For tokens that are read without what they were chosen from."""


LONGEST_TITLE = 10_000
"""Characters; an exported file with a longer one would not be taken back."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session, as a list shows it."""

    id: str
    title: str
    created_at: float
    updated_at: float
    model: str
    date: str
    """ISO date that the template is given; fixed for the session."""
    message_count: int
    deleted_at: float | None = None
    """Unix time; None for one that is not deleted."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What wrote a reply."""

    name: str
    fingerprint: str
    """Of the header of its weights and their sizes."""
    engine: str
    device: str
    dtype: str
    template: str
    """Jinja source; empty for a model that was talked to raw."""
    path: str = ""
    """Where it lay; empty where an older llama-chat wrote it."""
    vocabulary: str = ""
    """Digest of its tokens (`distribution.names.vocabulary_digest`); empty likewise."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """All that is known of one session, out of the store or out of an exported file."""

    info: SessionInfo
    conversation: Conversation
    models: Mapping[str, ModelRecord]
    """By the id of the assistant's message; one that no model wrote is not in it."""
    tokens_of: Callable[[str], Sequence[Token]]
    """The tokens of an assistant's message by its id, read when asked for; empty where none were kept."""
    plain_tokens_of: Callable[[str], Sequence[Token]] | None = None
    """The same with `NO_CANDIDATES`, which is much quicker to read; None where there is no quicker way."""
    archive_of: Callable[[str], bytes | None] | None = None
    """The same packed (`pack_archive`), where they lie so already: nothing need be packed again."""
    end_sampling_of: Callable[[str], Sampling | None] = lambda _: None
    """The settings that the end of the reply was drawn with; None where they are those of its last token."""
    names_of: Callable[[str], TokenNames] | None = None
    """What the tokens of a reply, and those that it was chosen from, are called; None: nobody knows."""


def sampling_json(sampling: Sampling) -> str:
    """The settings as JSON."""
    return json.dumps(asdict(sampling))


@lru_cache(maxsize=256)
def sampling_from(text: str) -> Sampling:
    """The settings that `sampling_json` wrote; a field of another version is left out or gets its default."""
    return Sampling(**_known(Sampling, json.loads(text)))


def readable_sampling(text: str) -> Sampling:
    """The same; the defaults where the text is damaged."""
    try:
        return sampling_from(text)
    except UNREADABLE:
        return Sampling()


def plan_json(plan: ComputePlan | None) -> str | None:
    """The plan as JSON, None where there is none.

    Every reply repeats the forwards of the whole talk before it, so they are written short: 5 bytes each
    instead of 60, where each begins at the end of the one before (they always do, but for foreign files).
    """
    if plan is None:
        return None
    values = {field.name: getattr(plan, field.name) for field in fields(plan)}
    short = short_text(plan.forwards)
    return json.dumps(values | {"forwards": [asdict(f) for f in plan.forwards] if short is None else short})


def plan_from(text: str | None) -> ComputePlan | None:
    """The plan that `plan_json` wrote."""
    if text is None:
        return None
    values = _known(ComputePlan, json.loads(text))
    kept = values["forwards"]
    forwards: Sequence[Forward]
    if isinstance(kept, str):
        forwards = ShortForwards(kept)
    else:
        forwards = tuple(Forward(**_known(Forward, forward)) for forward in kept)
    return ComputePlan(**(values | {"forwards": forwards}))


def spelled_out(reply: Reply) -> Reply:
    """The reply with the forwards of its plan as a tuple, which `asdict` takes apart."""
    plan = reply.plan
    return reply if plan is None else replace(reply, plan=replace(plan, forwards=tuple(plan.forwards)))


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = _FIELD_NAMES[kind]
    return {name: value for name, value in values.items() if name in names}


_FIELD_NAMES = {kind: frozenset(f.name for f in fields(kind)) for kind in (Sampling, ComputePlan, Forward)}


def ids_blob(token_ids: Iterable[int]) -> bytes:
    """Token ids as little-endian 32 bit."""
    return little(array("I", token_ids))


def ids_from(blob: bytes) -> tuple[int, ...]:
    """The ids that `ids_blob` packed."""
    return tuple(from_little("I", blob))


def little(values: array[Any]) -> bytes:
    """The bytes of the array, little-endian on every machine."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def from_little(typecode: str, raw: bytes) -> array[Any]:
    """The array whose bytes `little` gave."""
    values: array[Any] = array(typecode)
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def reply_values(reply: Reply) -> dict[str, Any]:
    """The columns of a reply by name."""
    return {
        "model": reply.model,
        "seed": reply.seed,
        "sampling": sampling_json(reply.sampling),
        "token_ids": ids_blob(reply.token_ids),
        "finish_reason": reply.finish_reason,
        "error": reply.error,
        "prompt_tokens": reply.prompt_tokens,
        "reused_tokens": reply.reused_tokens,
        "prefill_s": reply.prefill_s,
        "decode_s": reply.decode_s,
        "context_start": reply.context_start,
        "plan": plan_json(reply.plan),
    }


MESSAGE_COLUMNS = (
    "m.id, m.parent_id, m.role, m.text, m.created_at, r.seed, r.sampling, r.model, r.token_ids, "
    "r.finish_reason, r.error, r.prompt_tokens, r.reused_tokens, r.prefill_s, r.decode_s, "
    "r.context_start, r.plan"
)
"""For a SELECT over `messages m LEFT JOIN replies r`; `message_from` takes such a row."""


def message_from(row: tuple[Any, ...]) -> Message:
    """The message of a row of `MESSAGE_COLUMNS`."""
    message_id, parent_id, role, text, created_at, seed, sampling, model, token_ids, *rest = row
    reply = None
    if seed is not None:
        rest[-1] = _readable_plan(rest[-1])
        reply = Reply(seed, readable_sampling(sampling), model, _readable_ids(token_ids), *rest)
    return Message(message_id, parent_id, _readable_role(role, reply), text, created_at, reply)


# One damaged column is no reason not to show the session.


def _readable_plan(text: str | None) -> ComputePlan | None:
    try:
        return plan_from(text)
    except UNREADABLE:
        return None


def _readable_ids(blob: bytes) -> tuple[int, ...]:
    try:
        return ids_from(blob)
    except UNREADABLE:
        return ()


def _readable_role(role: str, reply: Reply | None) -> Role:
    try:
        return Role(role)
    except ValueError:
        return Role.USER if reply is None else Role.ASSISTANT


MODEL_COLUMNS = ", ".join(f"d.{field.name}" for field in fields(ModelRecord))
"""For a SELECT over `models d`; `ModelRecord(*row)` takes such a row."""

SESSION_COLUMNS = "id, title, created_at, updated_at, model, date, message_count, deleted_at"
"""For a SELECT over `sessions`; `SessionInfo(*row)` takes such a row."""
