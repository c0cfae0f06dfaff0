"""What comes out of a file: a session's record, and its tokens still packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llama_chat.events import Sampling
from llama_chat.sessions.records import SessionRecord


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """The tokens of one reply, as the store keeps them."""

    archive: bytes
    """By `pack_archive`."""
    sampling_changes: tuple[tuple[int, Sampling], ...]
    """From which token on which settings were in force, where they differ from what the reply began with."""


@dataclass(frozen=True, slots=True)
class FileSession:
    """One session out of a file, checked as a whole."""

    record: SessionRecord
    packed_of: Callable[[str], PackedTokens | None]
    """By the id of the message, read when asked for; None where no tokens were kept."""
    left_out: int = 0
    """Messages that are no part of a chat here: those to and from tools, hidden ones."""
