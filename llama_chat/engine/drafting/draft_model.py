"""Drafts by a smaller model of the same vocabulary."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import torch

from llama_chat.decode_steps import BEST, HasSteps
from llama_chat.engine.drafting.drafting import Draw

if TYPE_CHECKING:
    from llama_chat.engine.generate import LocalEngine

_PRIOR, _PRIOR_WEIGHT = 0.7, 4.0
_MEMORY = 64
"""About so many drafted tokens back reaches what counts for how often it is right."""
_FORGIVEN = 512
"""About so many tokens after it was of no use, it is tried again."""


class ModelDrafter:
    """A `Drafter` that asks another network what comes next, with the noise of the reply.

    It draws as the reply does: where both networks find the same likely, the same noise makes them choose the
    same token, however high the temperature.
    """

    def __init__(self, engine: LocalEngine, vocab_size: int) -> None:
        self.engine = engine
        self._vocab_size = vocab_size
        self._ids: list[int] = []
        self._drafted: deque[int] = deque()
        """What is left to be held against what comes."""
        self._right = self._all = 0.0
        self._seconds: deque[float] = deque(maxlen=7)
        self._draw: Draw | None = None

    @property
    def seconds_a_token(self) -> float:
        """What a drafted token takes; nothing while it is not known."""
        return median(self._seconds) if self._seconds else 0.0

    def begin(self, ids: Sequence[int], draw: Draw) -> None:
        """Another reply: these ids are in the context, and the smaller network runs as fast as it can."""
        self._ids, self._draw = list(ids), draw
        if isinstance(network := self.engine.network, HasSteps):
            network.take_step(BEST)
        self._drafted.clear()

    def learn(self, token_id: int) -> None:
        """The token came next."""
        self._ids.append(token_id)
        if self._drafted:
            is_right = self._drafted.popleft() == token_id
            self._right = self._right * (1 - 1 / _MEMORY) + is_right
            self._all = self._all * (1 - 1 / _MEMORY) + 1
            if not is_right:
                self._drafted.clear()
        else:
            self._right *= 1 - 1 / _FORGIVEN
            self._all *= 1 - 1 / _FORGIVEN

    def chances(self, most: int) -> Sequence[float]:
        """As likely as they were of late, whichever the text."""
        return [(self._right + _PRIOR * _PRIOR_WEIGHT) / (self._all + _PRIOR_WEIGHT)] * most

    def draft(self, count: int) -> list[int]:
        """By one step a token; none beyond the context of the smaller model."""
        engine, live, ids = self.engine, self.engine.live, list(self._ids)
        assert self._draw is not None, "drafting begins with a reply"
        self._drafted.clear()
        if len(ids) + count > engine.info.context_length:
            return []
        live.reuse(ids)
        with torch.inference_mode():
            *_, logits_V = live.prefill(ids, lambda: False)
            for place in range(count):
                started = time.perf_counter()
                assert logits_V is not None
                token_id = self._draw(logits_V, place, ids)
                if token_id >= self._vocab_size:
                    break
                self._drafted.append(token_id)
                ids.append(token_id)
                if place + 1 < count:
                    logits_V = live.extend([token_id], "last", "step")
                    self._seconds.append(time.perf_counter() - started)
        return list(self._drafted)

    def close(self) -> None:
        """Free the smaller model."""
        self.engine.close()
