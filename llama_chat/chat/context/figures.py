"""How full the context is: a word when it gets near its end, and what is in it, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.chat.context.estimating import estimated_tokens
from llama_chat.chat.context.summaries import summarised_messages
from llama_chat.chat.live import Status
from llama_chat.chat.words import format_tokens
from llama_chat.conversation import Message, Role

FREE, REUSED = "free", "of it reused"

NEAR_SHARE = 0.9
"""Of the context; from here on the user is told how little is left."""


class ContextWatch:
    """Tells when the context gets near its end: once, until it was further away again."""

    def __init__(self) -> None:
        self._is_near = False

    def words(self, status: Status) -> str:
        """What the user should hear now; mostly nothing."""
        was_near, length = self._is_near, status.context_length
        self._is_near = length > 0 and status.context_used >= NEAR_SHARE * length
        if was_near or not self._is_near:
            return ""
        percent = 100 * status.context_used // length
        left = format_tokens(max(0, length - status.context_used))
        how = "/compact shortens the older part; else the oldest turns leave."
        return f"Context {percent} % full: {left} left. {how}"


@dataclass(frozen=True, slots=True)
class ContextRow:
    """One part of the context, or what it was made of."""

    name: str
    tokens: int
    is_estimate: bool = False
    is_part: bool = True
    """Whether it takes room of its own; off for what says more of another one."""

    @property
    def figure(self) -> str:
        """The count, marked where nobody has counted."""
        return f"{'≈ ' if self.is_estimate else ''}{self.tokens:,}"


def context_rows(path: Sequence[Message], status: Status) -> list[ContextRow]:
    """What the context holds after the last reply of the path, in the order in which the model reads it.

    Args:
        path: with what is written of a running reply.
        status: tells the length, and what the last prompt found in the cache.
    """
    last = next((n for n in range(len(path) - 1, -1, -1) if _has_run(path[n])), None)
    reply = path[last].reply if last is not None else None
    if last is None or reply is None:
        return _estimated_rows(path, status)
    turns = [message for message in path[:last] if message.role is not Role.SYSTEM]
    kept = turns[status.dropped_messages :]
    words = kept[-1:]
    system = [message for message in path[:1] if message.role is Role.SYSTEM]
    new_tokens = len(reply.token_ids)
    since = path[last + 1 :] if status.is_estimate else ()
    since_tokens = min(estimated_tokens(since), max(0, status.context_used - new_tokens))
    prompt_tokens = max(0, status.context_used - new_tokens - since_tokens)
    is_copy = not reply.prompt_tokens
    system_tokens = min(estimated_tokens(system), prompt_tokens)
    words_tokens = min(estimated_tokens(words), prompt_tokens - system_tokens)
    noun = "message" if len(kept) == 2 else "messages"
    rows = [
        ContextRow("system prompt", system_tokens, is_estimate=True),
        ContextRow(
            f"before: {len(kept) - 1:,} {noun}" if len(kept) > 1 else "the template",
            prompt_tokens - system_tokens - words_tokens,
            is_estimate=True,
        ),
        ContextRow("your last words", words_tokens, is_estimate=True),
        ContextRow("the last reply", new_tokens),
        ContextRow(f"since then: {_messages(len(since))}", since_tokens, is_estimate=True),
        _free(status),
        ContextRow("the last prompt", prompt_tokens, is_estimate=is_copy, is_part=False),
        ContextRow(REUSED, min(status.reused_tokens or reply.reused_tokens, prompt_tokens), is_part=False),
    ]
    if n := status.dropped_messages:
        left = turns[:n]
        rows.append(
            ContextRow(f"left out: {_messages(n)}", estimated_tokens(left), is_estimate=True, is_part=False)
        )
    if turns and (n := summarised_messages(turns[0])):
        summary = estimated_tokens(turns[:1])
        rows.append(ContextRow(f"summary of {_messages(n)}", summary, is_estimate=True, is_part=False))
    return [row for row in rows if row.tokens or row.name in (FREE, REUSED)]


def _estimated_rows(path: Sequence[Message], status: Status) -> list[ContextRow]:
    """Of a path without a reply that a model has written."""
    if not status.context_length:
        return []
    system = [message for message in path if message.role is Role.SYSTEM]
    system_tokens = min(estimated_tokens(system), status.context_used)
    rows = [
        ContextRow("system prompt", system_tokens, is_estimate=True),
        ContextRow(_messages(len(path) - len(system)), status.context_used - system_tokens, is_estimate=True),
        _free(status),
    ]
    return [row for row in rows if row.tokens or row.name == FREE]


def _free(status: Status) -> ContextRow:
    free = max(0, status.context_length - status.context_used)
    return ContextRow(FREE, free, is_estimate=status.is_estimate)


def _has_run(message: Message) -> bool:
    reply = message.reply
    return reply is not None and bool(reply.prompt_tokens or reply.token_ids)


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
