"""The same ids through one network: what it says of each, and how it goes on by itself.

Shapes: T ids of the text, R rows at a position, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llama_chat.engine.live_cache import PREFILL_CHUNK
from llama_chat.engine.network import Network

ROWS_AT_POSITION = 8
"""Compared at each position: it, and those just before it."""
GREEDY_PROMPT_TOKENS = 48
GREEDY_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Said:
    """What one network said, in f32 on the CPU."""

    text: Tensor
    """[T, V]"""
    at: Mapping[int, Tensor]
    """By position, [R, V]: the logits after the last `ROWS_AT_POSITION` ids up to there."""
    greedy_ids: tuple[int, ...]
    greedy_margins: tuple[float, ...]
    """How far the likeliest logit was ahead of the next at each of them."""
    text_tok_per_s: float

    def is_finite(self) -> bool:
        """Whether all of it are numbers."""
        return all(bool(part.isfinite().all()) for part in (self.text, *self.at.values()))


def say_text(network: Network, ids: Sequence[int]) -> tuple[Tensor, float]:
    """The logits after every id, [T, V], and the ids a second."""
    started = time.perf_counter()
    cache = network.new_cache()
    rows = []
    for at in range(0, len(ids), PREFILL_CHUNK):
        part = network.forward(ids[at : at + PREFILL_CHUNK], cache, "all")
        assert part is not None
        rows.append(part.cpu())
    return torch.cat(rows), len(ids) / (time.perf_counter() - started)


def say_at(
    network: Network, ids: Sequence[int], positions: Sequence[int], step: Callable[[int], None]
) -> dict[int, Tensor]:
    """The logits of the last rows before each of the rising positions, [R, V].

    Args:
        network: of either engine.
        ids: at least as many as the last position.
        positions: numbers of ids; 1 is the very first.
        step: hears before each forward how many ids are through; may raise.
    """
    cache = network.new_cache()
    found: dict[int, Tensor] = {}
    for position in positions:
        first = max(cache.length, position - ROWS_AT_POSITION)
        while cache.length < first:
            step(cache.length)
            network.forward(ids[cache.length : min(cache.length + PREFILL_CHUNK, first)], cache, "none")
        rows = network.forward(ids[first:position], cache, "all")
        assert rows is not None
        found[position] = rows.cpu()
    return found


def go_on(network: Network, ids: Sequence[int], count: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The likeliest ids that follow, one after the other, and how far each was ahead of the next best."""
    cache = network.new_cache()
    logits_V = network.forward(ids, cache, "last")
    chosen: list[int] = []
    margins: list[float] = []
    while len(chosen) < count:
        assert logits_V is not None
        best = logits_V.topk(2)
        chosen.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        if len(chosen) < count:
            logits_V = network.forward(chosen[-1:], cache, "last")
    return tuple(chosen), tuple(margins)
