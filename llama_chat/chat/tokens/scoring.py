"""A message that nobody kept tokens of, as the loaded model sees it: how likely each of its tokens is.

An imported reply, one of another model, the user's own words. It is that model's opinion and no part of what
happened, so it is not stored; the last few are remembered while the program runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from llama_chat.alteration import Alterable
from llama_chat.chat.tokens.source_ids import source_ids, sources_of
from llama_chat.conversation import Message, Role
from llama_chat.distribution.names import TokenNames
from llama_chat.errors import PromptError
from llama_chat.events import Engine, Token
from llama_chat.scoring import score_by

T = TypeVar("T")

MOST_REMEMBERED = 4
"""Messages; one of 10,000 tokens takes 30 MB with all candidates."""


@dataclass(frozen=True, slots=True)
class ScoredMessage:
    """What a model says of a text that it did not write."""

    tokens: tuple[Token, ...]
    """From the first of the message on, but for one that nothing stands before; `index` counts from 0."""
    names: TokenNames
    model: str
    """Its name."""


class Computes(Protocol):
    """Runs a function of the engine where that may be asked: `Worker`."""

    def compute(self, function: Callable[[Engine], T], cancel: threading.Event) -> Future[T]:
        """As `Worker.compute`."""
        ...


_Key: TypeAlias = tuple[object, ...]


class MessageScores:
    """Scores messages, and remembers the last ones.

    Args:
        worker: owns the engine.
    """

    def __init__(self, worker: Computes) -> None:
        self._worker = worker
        self._known: OrderedDict[_Key, ScoredMessage] = OrderedDict()

    def score(self, path: Sequence[Message], date: str, cancel: threading.Event) -> Future[ScoredMessage]:
        """The path's last message behind those before it, through the model's template; on any thread.

        The future fails with a `LlamaChatError` that says why it cannot be scored: no model is loaded, the
        path does not fit the context, the message is empty or a system prompt, the template changed its
        text, it was cancelled.

        Args:
            path: from the root to the message.
            date: of the session, which the template may ask for.
            cancel: looked at every 64 tokens.
        """
        return self._worker.compute(lambda engine: self._scored(engine, tuple(path), date, cancel), cancel)

    def _scored(
        self, engine: Engine, path: tuple[Message, ...], date: str, cancel: threading.Event
    ) -> ScoredMessage:
        altered_by = engine.alteration.signature if isinstance(engine, Alterable) else ""
        told = tuple((message.id, message.text) for message in path)
        key = (engine.info.fingerprint, engine.info.dtype, altered_by, date, told)
        if (known := self._known.get(key)) is None:
            known = _score(engine, path, date, cancel)
            self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return known


def _score(engine: Engine, path: tuple[Message, ...], date: str, cancel: threading.Event) -> ScoredMessage:
    names = TokenNames.of_engine(engine)
    ids, start = _ids_of(engine, path, date, names)
    tokens = tuple(score_by(engine, ids, start, cancel))
    if not tokens:
        raise PromptError("The message is a single token with nothing before it: there is nothing to score.")
    return ScoredMessage(tokens, names, engine.info.name)


def _ids_of(
    engine: Engine, path: tuple[Message, ...], date: str, names: TokenNames
) -> tuple[tuple[int, ...], int]:
    """What the model reads up to the end of the message, and where the message begins in it.

    Raises:
        PromptError: it is not in it, or does not fit.
    """
    message = path[-1]
    if not message.text.strip():
        raise PromptError("The message is empty: there is nothing to score.")
    if message.role is Role.SYSTEM:
        raise PromptError(
            "The system prompt is not scored.",
            hint="Templates put it where they like; score what follows it.",
        )
    found = source_ids(engine, path, date=date)
    if found.message is not None:
        return found.ids, found.prompt_tokens
    sources = sources_of(found, lambda token_id: names.piece(token_id) or b"")
    places = [place for place, source in enumerate(sources) if source.message_id == message.id]
    if not places:
        raise PromptError(
            "The model's template has changed the text of the message: it cannot be told which tokens it is.",
            hint='llama-chat tokens "the text" --score takes it without the template.',
        )
    return found.ids[: places[-1] + 1], places[0]
