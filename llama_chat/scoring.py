"""Who can say how likely a text is, token by token, and how much text is looked at in one go."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from llama_chat.errors import ModelError
from llama_chat.events import Token
from llama_chat.sampling import Sampling

PLAIN = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)
"""What scored tokens are said to be drawn with: what the model says, with nothing made of it."""


@runtime_checkable
class Scores(Protocol):
    """An engine that can score."""

    def score(self, token_ids: Sequence[int], start: int, cancel: threading.Event) -> Iterator[Token]:
        """The ids from `start` on, each with what the model would have chosen from behind those before it.

        The first id of all has nothing before it: it is never among them. Its own cache is used; what the
        engine keeps of a chat stays as it is. More ids than the context holds are scored in `windows`.

        Args:
            token_ids: all of them.
            start: the first that is wanted.
            cancel: looked at every 64 tokens.

        Raises:
            ModelError: the logits are no numbers, or memory has ended.
            PromptError: an id that the model does not have.
            Interrupted: `cancel` was set.
        """
        ...


def score_by(
    engine: object, token_ids: Sequence[int], start: int, cancel: threading.Event
) -> Iterator[Token]:
    """What the engine says of the ids.

    Raises:
        ModelError: it cannot score.
    """
    if not isinstance(engine, Scores):
        raise ModelError("This engine cannot say how likely a text is.")
    return engine.score(token_ids, start, cancel)


class Window(NamedTuple):
    """A stretch of ids that goes through the network in an empty cache."""

    begin: int
    first: int
    """The first id of it that is scored."""
    end: int


def windows(count: int, start: int, context_length: int) -> Iterator[Window]:
    """The windows in which so many ids are scored from `start` on: one, where all fit into the context.

    Otherwise each id sees at least half of a context before it, or all that is there. (The perplexity of
    long texts is mostly told so; with windows that do not overlap it comes out higher.)
    None, where the context holds a single id.
    """
    if context_length < 2:
        return  # nothing could stand before an id, and the windows would never get on
    first = max(1, start)
    while first < count:
        begin = 0 if count <= context_length else max(0, first - max(1, context_length // 2))
        end = min(count, begin + context_length)
        yield Window(begin, first, end)
        first = end
