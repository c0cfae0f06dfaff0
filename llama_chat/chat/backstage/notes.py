"""What reaches the screen from other threads: small frozen facts, drained in batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from llama_chat.errors import LlamaChatError
from llama_chat.events import Event, Loading, ModelInfo

if TYPE_CHECKING:
    from llama_chat.chat.backstage.saved import SavedSession
    from llama_chat.pull import PullProgress
    from llama_chat.turn import Prompt


@dataclass(frozen=True, slots=True)
class Pulling:
    """The model's file is being fetched."""

    progress: PullProgress


@dataclass(frozen=True, slots=True)
class LoadingNote:
    """The model is on its way into memory."""

    progress: Loading


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model can answer."""

    info: ModelInfo


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """There is no model."""

    error: LlamaChatError


@dataclass(frozen=True, slots=True)
class NotSwitched:
    """Another model was wanted, and cannot run."""

    error: LlamaChatError
    info: ModelInfo | None
    """Of the model that is still there; None: it is loaded again, which is told next."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The turn fits the model; its events follow."""

    reply_id: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Refused:
    """The turn cannot be answered."""

    reply_id: str
    error: LlamaChatError


@dataclass(frozen=True, slots=True)
class Happened:
    """Events of one reply, in order, kept already unless the store does not answer."""

    reply_id: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """Whether everything that is on the screen is on the disk too."""

    saved: bool
    can_be: bool = True
    """Whether what is not on the disk may still get there."""


@dataclass(frozen=True, slots=True)
class NotKept:
    """Something could not be written; the chat goes on."""

    error: LlamaChatError


@dataclass(frozen=True, slots=True)
class OfStore:
    """What the user should hear about the store: it was damaged, and what became of it."""

    text: str


@dataclass(frozen=True, slots=True)
class OpenElsewhere:
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
