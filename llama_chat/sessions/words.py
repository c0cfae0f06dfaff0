"""What people read about a message: who, when, how it came about; each a safe line."""

from __future__ import annotations

import time

from llama_chat.conversation import Message, Role
from llama_chat.sanitize import sanitize
from llama_chat.sessions.records import SessionRecord


def name_of(message: Message, record: SessionRecord) -> str:
    """Who speaks: the model by its name, everybody else by role."""
    if message.role is Role.ASSISTANT:
        model = message.reply.model if message.reply else record.info.model
        return one_line(model) or "Assistant"
    return "User" if message.role is Role.USER else "System prompt"


def notes_of(message: Message) -> list[str]:
    """What is worth a word about a reply: its length, its chance, and how it ended."""
    reply = message.reply
    if reply is None:
        return []
    notes = [f"{len(reply.token_ids):,} tokens"] if reply.token_ids else []
    notes += [f"seed {reply.seed}", f"temperature {reply.sampling.temperature:g}"]
    if reply.finish_reason not in (None, "end"):
        error = f" ({one_line(reply.error)})" if reply.error else ""
        notes.append(f"{reply.finish_reason}{error}")
    return notes


def one_line(text: str) -> str:
    """Safe text without line breaks."""
    return " ".join(sanitize(text).split())


def when_text(seconds: float) -> str:
    """Day and minute, here; a question mark for a time that no calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"
