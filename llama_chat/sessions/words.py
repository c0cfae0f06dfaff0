"""What people read about a message: who, when, how it came about; each a safe line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields

from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling, Token
from llama_chat.sampling import setting_label, setting_value
from llama_chat.sanitize import one_line
from llama_chat.sessions.records import SessionRecord

WHO = {Role.USER: "you", Role.ASSISTANT: "model", Role.SYSTEM: "system"}
"""Who speaks, in a word."""
_MOST_STEPS = 5


def name_of(message: Message, record: SessionRecord) -> str:
    """Who speaks: the model by its name, everybody else by role."""
    if message.role is Role.ASSISTANT:
        model = message.reply.model if message.reply else record.info.model
        return one_line(model) or "Assistant"
    return "User" if message.role is Role.USER else "System prompt"


def notes_of(message: Message, tokens: Sequence[Token] = ()) -> list[str]:
    """What is worth a word about a reply: its length, its chance, and how it ended.

    Args:
        message: a reply, or another one, of which there is nothing to say.
        tokens: its own: with them it is said which sliders were moved, and where.
    """
    reply = message.reply
    if reply is None:
        return []
    notes = [f"{len(reply.token_ids):,} tokens"] if reply.token_ids else []
    moves = _moves(reply, tokens)
    temperature = moves.pop("temperature", f"temperature {reply.sampling.temperature:g}")
    notes += [f"seed {reply.seed}", temperature, *moves.values()]
    if reply.plan is not None and reply.plan.alteration:
        notes.append(f"model altered: {one_line(reply.plan.alteration)}")
    if reply.finish_reason not in (None, "end"):
        error = f" ({one_line(reply.error)})" if reply.error else ""
        notes.append(f"{reply.finish_reason}{error}")
    return notes


def _moves(reply: Reply, tokens: Sequence[Token]) -> dict[str, str]:
    """By setting that was moved: `temperature 0.7 → 0.85 at token 4`, counted from 0 as everywhere."""
    found: dict[str, list[str]] = {}
    in_force = reply.sampling
    for token in tokens:
        if token.sampling != in_force:
            for name in (field.name for field in fields(Sampling)):
                before, now = getattr(in_force, name), getattr(token.sampling, name)
                if now != before:
                    steps = found.setdefault(name, [f"{setting_label(name)} {setting_value(name, before)}"])
                    steps.append(f"{setting_value(name, now)} at token {token.index}")
            in_force = token.sampling
    return {name: " → ".join(_few(steps)) for name, steps in found.items()}


def _few(steps: list[str]) -> list[str]:
    """A slider that was dragged passed many values: the first ones and the last."""
    return steps if len(steps) <= _MOST_STEPS else [*steps[: _MOST_STEPS - 1], "…", steps[-1]]


def end_words(reply: Reply | None, last: Sampling | None = None) -> str:
    """How a reply ended that did not come to its own end; empty for others, and while it is written.

    Args:
        reply: of the message; None where no model wrote it.
        last: the settings in force at the end; the reply's first ones where they are not known.
    """
    if reply is None:
        return ""
    why = f": {one_line(reply.error)}" if reply.error else ""
    match reply.finish_reason:
        case "stopped":
            return f"stopped by the user{why}"
        case "interrupted":
            return f"interrupted{why}"
        case "failed":
            return f"it could not go on{why}"
        case "length":
            return f"{_cut_words(reply, last or reply.sampling)}{why}"
    return ""


def _cut_words(reply: Reply, sampling: Sampling) -> str:
    count = len(reply.token_ids)
    if count >= sampling.max_new_tokens:
        return f"cut: max new tokens was {sampling.max_new_tokens:,}"
    if not count:
        return "cut: no more tokens were wanted, or the context was full"
    # The slider may have gone below the count after the last token: then no token tells of it.
    used = reply.prompt_tokens + count
    return f"cut: the context was full ({used:,} tokens), or max new tokens was set lower"


def when_text(seconds: float) -> str:
    """Day and minute, here; a question mark for a time that no calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"
