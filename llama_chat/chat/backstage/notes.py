"""What reaches the screen from other threads: small frozen facts, drained in batches.

Named tuples, not dataclasses: to make twelve of those took 7 ms of the start (2026-11-22).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from llama_chat.errors import LlamaChatError
from llama_chat.events import Event, Failed, Finished, Loading, ModelInfo

if TYPE_CHECKING:
    from llama_chat.chat.backstage.saved import SavedSession
    from llama_chat.pull import PullProgress
    from llama_chat.turn import Prompt


class Pulling(NamedTuple):
    """The model's file is being fetched."""

    progress: PullProgress


class LoadingNote(NamedTuple):
    """The model is on its way into memory."""

    progress: Loading


class Loaded(NamedTuple):
    """The model can answer."""

    info: ModelInfo


class NotLoaded(NamedTuple):
    """There is no model."""

    error: LlamaChatError


class NotSwitched(NamedTuple):
    """Another model was wanted, and cannot run."""

    error: LlamaChatError
    info: ModelInfo | None
    """Of the model that is still there; None: it is loaded again, which is told next."""


class Begun(NamedTuple):
    """The turn fits the model; its events follow."""

    reply_id: str
    prompt: Prompt


class Refused(NamedTuple):
    """The turn cannot be answered."""

    reply_id: str
    error: LlamaChatError


class Happened(NamedTuple):
    """Events of one reply, in order, kept already unless the store does not answer."""

    reply_id: str
    events: tuple[Event, ...]


class Kept(NamedTuple):
    """Whether everything that is on the screen is on the disk too."""

    saved: bool
    can_be: bool = True
    """Whether what is not on the disk may still get there."""


class NotKept(NamedTuple):
    """Something could not be written; the chat goes on."""

    error: LlamaChatError


class OfStore(NamedTuple):
    """What the user should hear about the store: it was damaged, and what became of it."""

    text: str


class OpenElsewhere(NamedTuple):
    """Another chat has this session open, too."""

    saved: SavedSession


Note: TypeAlias = (
    Pulling
    | LoadingNote
    | Loaded
    | NotLoaded
    | NotSwitched
    | Begun
    | Refused
    | Happened
    | Kept
    | NotKept
    | OfStore
    | OpenElsewhere
)


def is_end(note: Note) -> bool:
    """Whether a reply ends in it, or was not begun."""
    if isinstance(note, Happened):
        return isinstance(note.events[-1], Finished | Failed)
    return isinstance(note, Refused)


def merged(notes: Iterable[Note]) -> list[Note]:
    """The same, with what happened to one reply in one note: it is drawn once then, not twice."""
    out: list[Note] = []
    for note in notes:
        last = out[-1] if out else None
        if isinstance(note, Happened) and isinstance(last, Happened) and note.reply_id == last.reply_id:
            out[-1] = Happened(note.reply_id, last.events + note.events)
        else:
            out.append(note)
    return out
