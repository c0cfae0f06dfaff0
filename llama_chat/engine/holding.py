"""What the user decides at single tokens of a reply, in the place of the sampler."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from llama_chat.engine.sampler import Choice
from llama_chat.events import Awaiting, ChosenBy, LiveSampling, Sampling
from llama_chat.steering import Order, Steering


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token, what it was drawn with, and by whom."""

    choice: Choice
    sampling: Sampling
    by: ChosenBy = "sampler"


@dataclass(slots=True)
class Holding:
    """Waits with one reply for what its user says.

    Args:
        steering: of the chat.
        sampling: the live settings: while it waits, what the sampler would take follows them.
        cancel: ends the wait.
        encode: text to ids; whether it is the beginning of the reply.
    """

    steering: Steering
    sampling: LiveSampling
    cancel: threading.Event
    encode: Callable[[str, bool], list[int]]
    _typed_ids: deque[int] = field(default_factory=deque)
    """What is left of the words that the user typed: each is one token of the reply."""

    @property
    def is_wanted(self) -> bool:
        """Whether the next token is for the user to say."""
        return bool(self.steering.hold or self._typed_ids)

    def decide(
        self,
        index: int,
        drawn: Drawn,
        draw: Callable[[Sampling], Choice],
        describe: Callable[[int, Sampling], Choice],
    ) -> Generator[Awaiting, None, Drawn]:
        """What is taken in the end; after a cancel, that which nobody took.

        Args:
            index: of the token.
            drawn: what the sampler would take.
            draw: what it would take with other settings.
            describe: a token of the user's among the candidates.
        """
        if self._typed_ids:
            return Drawn(describe(self._typed_ids.popleft(), drawn.sampling), drawn.sampling, "user")
        self.steering.stand_still(index)
        yield _awaiting(index, drawn)
        order: Order | None = None
        while not self.cancel.is_set():
            order = self.steering.wait()
            if order is not None or not self.steering.hold:
                break
            if self.sampling.current != drawn.sampling:
                snapshot = self.sampling.current
                drawn = Drawn(draw(snapshot), snapshot)
                yield _awaiting(index, drawn)
        self.steering.go_on()
        if order is not None and order.token_id == drawn.choice.token_id:
            return drawn  # by now: since it was told, a slider may have been moved
        token_id = self._ordered_id(order, index)
        if token_id is None:
            return drawn
        return Drawn(describe(token_id, drawn.sampling), drawn.sampling, "user")

    def _ordered_id(self, order: Order | None, index: int) -> int | None:
        """The token that is ordered; of words the first one, and the others wait for their turn."""
        if order is None:
            return None
        if order.token_id is not None:
            return order.token_id
        self._typed_ids.extend(self.encode(order.text, index == 0) if order.text else ())
        return self._typed_ids.popleft() if self._typed_ids else None


def _awaiting(index: int, drawn: Drawn) -> Awaiting:
    return Awaiting(index, drawn.choice.candidates, drawn.choice.token_id)
