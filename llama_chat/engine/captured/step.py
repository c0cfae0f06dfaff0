"""The captured decode step of a network: one graph for each length that its caches are attended to."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from llama_chat.engine.cache import CACHE_STEP, KVCache, cache_capacity
from llama_chat.engine.captured.attention import StepAttention
from llama_chat.engine.captured.recording import Capture, Recording
from llama_chat.engine.captured.static_step import StepTensors, static_step, step_tensors
from llama_chat.engine.model import Block, Llama, attend

MOST_LENGTHS = 3
"""Graphs of one cache; who goes back and forth in a conversation seldom has more lengths at once."""
MOST_GRAPHS = 12
"""Of all caches: a sweep under many settings has many. Beyond them steps are computed as they are."""


def attended_length(position: int, limit: int) -> int:
    """Positions of the cache that the step at `position` is handed: 256 times 1, 2, 3, 4, 6, 8, 12 and so on.

    It depends on the place alone, not on what the cache held before: so a reply comes again to the last bit.
    At most half of it is behind the token, and a context of 131,072 takes 18 lengths.

    Args:
        position: of the token.
        limit: positions that a cache may hold; the last length ends there.
    """
    steps = position // CACHE_STEP + 1
    power = 1 << (steps - 1).bit_length()  # the power of two from `steps` on
    wanted = power * 3 // 4 if power >= 4 and steps <= power * 3 // 4 else power
    return min(wanted * CACHE_STEP, cache_capacity(limit))


@dataclass(slots=True)
class _Graphs:
    """Those of one cache, as long as its tensors are where they were."""

    addresses: tuple[ref[Tensor], ...]
    by_length: dict[int, Recording] = field(default_factory=dict)

    def fit(self, tensors: Iterator[Tensor]) -> bool:
        """Whether the tensors are those that the graphs read and write."""
        return all(held() is tensor for held, tensor in zip(self.addresses, tensors, strict=True))


class CapturedStep:
    """Decode steps out of recorded graphs.

    A step that is not recorded, for want of room or because it cannot be, runs the same computation as it
    is: with the same kernels in the same order, so that a plan may call both by one name.

    Args:
        llama: whose modules compute; its weights must stay where they are.
        capture: records on the device of the weights.
        attention: how it attends.
    """

    def __init__(self, llama: Llama, capture: Capture, attention: StepAttention) -> None:
        self.name = attention.name
        self._attention = attention
        self._llama = llama
        self._capture = capture
        self._tensors: StepTensors | None = None
        self._graphs: MutableMapping[KVCache, _Graphs] = WeakKeyDictionary()

    @property
    def failure(self) -> str:
        """Why nothing is recorded any more; empty while it works."""
        return self._capture.failure

    def stands_aside(self) -> bool:
        """Whether somebody looks into the network's own modules (`probing`), which would see nothing here."""
        return cast(Block, self._llama.blocks[0]).attention.attend is not attend

    def forward(self, token_id: int, cache: KVCache) -> Tensor:
        """The logits behind the token, f32 [V], in a tensor that the next step writes again.

        The cache grows by one position.

        Raises:
            ValueError: more than the model's context.
        """
        position = cache.length
        length = attended_length(position, cache.limit)
        self._make_room(cache, position, length)
        if self._tensors is None:
            self._tensors = step_tensors(self._llama.config.vocab_size, cache.keys[0].device)
        self._tensors.tell(token_id, position)
        self._recording(cache, length).run()
        cache.advance(1)
        return self._tensors.logits_V

    def _make_room(self, cache: KVCache, position: int, length: int) -> None:
        if length > cache.capacity:
            self._graphs.pop(cache, None)  # first: what they hold is not needed while the cache is copied
        self._llama.reserve(cache, max(position + 1, min(length, cache.limit)))

    def _recording(self, cache: KVCache, length: int) -> Recording:
        """The step of that length in that cache."""
        graphs = self._graphs.get(cache)
        if graphs is None or not graphs.fit(self._addresses(cache)):
            graphs = self._graphs[cache] = _Graphs(tuple(map(ref, self._addresses(cache))))
        found = graphs.by_length.get(length)
        if found is not None:
            return found
        if len(graphs.by_length) >= MOST_LENGTHS:
            del graphs.by_length[next(iter(graphs.by_length))]
        if sum(len(each.by_length) for each in self._graphs.values()) >= MOST_GRAPHS:
            return self._not_yet_recorded(cache, length, None)
        graphs.by_length[length] = self._not_yet_recorded(cache, length, self._capture)
        return graphs.by_length[length]

    def _addresses(self, cache: KVCache) -> Iterator[Tensor]:
        """All that a step reads or writes and that may be moved by others."""
        yield self._llama.rotary.table
        yield from cache.keys
        yield from cache.values

    def _not_yet_recorded(self, cache: KVCache, length: int, capture: Capture | None) -> Recording:
        llama, tensors, attention = self._llama, self._tensors, self._attention
        weakly = ref(cache)  # graphs go with their cache
        assert tensors is not None

        @torch.inference_mode()
        def work() -> None:
            cache = weakly()
            assert cache is not None
            static_step(llama, tensors, cache.keys, cache.values, length, attention)

        return Recording(work, tensors.logits_V, capture)
