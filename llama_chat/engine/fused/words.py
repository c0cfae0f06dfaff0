"""Values of eight bits, four in a word of 32, in operations that Inductor compiles to vector loops.

Bytes Inductor copies to the stack before it converts them (torch 2.13); words it loads and shifts apart.

Shapes: S positions, G key/value heads, R query heads that share one, K head size, W = K / 4 words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WORD = 4


def as_words(values: Tensor) -> Tensor:
    """The same memory, [..., K] int8 as [..., W] int32; the first value is the lowest byte."""
    return values.view(torch.int32)


def by_place(x: Tensor) -> tuple[Tensor, ...]:
    """Four of [..., W]: the values [..., K] by their place in a word."""
    places: tuple[Tensor, ...] = x.unflatten(-1, (-1, WORD)).unbind(-1)
    return places


def unpacked(words: Tensor) -> list[Tensor]:
    """The values by their place in a word, f32 in its shape: each goes to the top and down, for its sign."""
    shifts = [24 - 8 * place for place in range(WORD)]
    return [(((words << shift) if shift else words) >> 24).float() for shift in shifts]


def packed(values: Tensor) -> Tensor:
    """Int8 [..., K] as words, int32 [..., W], by arithmetic."""
    first, second, third, fourth = by_place(values.int())
    return (first & 255) | ((second & 255) << 8) | ((third & 255) << 16) | (fourth << 24)


def dot(weights: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
    """The sum over all values, [...]: of what `unpacked` gave with what `by_place` gave."""
    return _total([weight * x for weight, x in zip(weights, places, strict=True)]).sum(-1)


def _total(parts: Sequence[Tensor]) -> Tensor:
    first, second, third, fourth = parts
    return first + second + third + fourth


def attend_words(
    queries_GRK: Tensor, keys_GSW: Tensor, key_scales_GS: Tensor, values_GSW: Tensor, value_scales_GS: Tensor
) -> Tensor:
    """What one row gathers, f32 [G, R, K]; the queries are scaled already. As `layer.attend_one` has it.

    Scales come after the sums over a key and before those over the values: one product a position.
    """
    keys, values = unpacked(keys_GSW), unpacked(values_GSW)
    # Stacked, not taken by place where they are used: so they lie in memory, and Inductor's loop goes along a
    # key instead of across sixteen of them, which it would turn around in memory first.
    queries_4GRW = torch.stack(by_place(queries_GRK))
    gathered = []
    for query_4GW in queries_4GRW.unbind(2):
        scores_GS = dot(keys, query_4GW[:, :, None].unbind(0)) * key_scales_GS
        weights_GS = (scores_GS - scores_GS.amax(-1, keepdim=True)).exp()
        scaled_GS1 = (weights_GS * value_scales_GS)[..., None]
        sums = [(scaled_GS1 * values_GSW).sum(1) for values_GSW in values]
        gathered.append(_in_order(sums) / weights_GS.sum(-1, keepdim=True))
    return torch.stack(gathered, 1)


def _in_order(places: Sequence[Tensor]) -> Tensor:
    """[..., K] of four by their place, [..., W]; summed, for each tensor that is stacked ends a loop."""
    at = torch.arange(WORD, device=places[0].device)
    spread = [x_GW[..., None] * (at == place) for place, x_GW in enumerate(places)]
    return _total(spread).flatten(-2)
