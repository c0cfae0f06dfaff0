"""Keys and values in 8 bits: half the memory of bf16, and half of what a step at a long context reads."""

from __future__ import annotations

import torch
from torch import Tensor

from llama_chat.engine.cache import KVCache

LARGEST = 127
"""What the largest number of a vector becomes: the scale is symmetric, so 0 stays 0."""

SCALE_DTYPE = torch.float32


class Int8KVCache(KVCache):
    """A `KVCache` whose vectors are int8 with one scale for each head and position, [G, capacity].

    Keys are kept turned by RoPE, as in the plain one. What is written is rounded once, so the positions of
    one forward already see each other rounded, and a prefill sees what a step sees.
    """

    def __init__(
        self,
        n_layers: int,
        n_kv_heads: int,
        head_dim: int,
        limit: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(n_layers, n_kv_heads, head_dim, limit, torch.int8, device)
        self.dtype = dtype
        """What they are given out in."""
        empty = torch.empty(n_kv_heads, 0, dtype=SCALE_DTYPE, device=device)
        self.key_scales, self.value_scales = [empty] * n_layers, [empty] * n_layers

    def write(self, layer: int, keys_GTK: Tensor, values_GTK: Tensor) -> None:
        """Put in what a layer makes of the positions behind `length`."""
        start, stop = self.length, self.length + keys_GTK.shape[1]
        self.keys[layer][:, start:stop], self.key_scales[layer][:, start:stop] = quantised(keys_GTK)
        self.values[layer][:, start:stop], self.value_scales[layer][:, start:stop] = quantised(values_GTK)

    def read(self, layer: int, stop: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of the positions before `stop`, unpacked: for this layer's sake only."""
        return (
            dequantised(self.keys[layer][:, :stop], self.key_scales[layer][:, :stop], self.dtype),
            dequantised(self.values[layer][:, :stop], self.value_scales[layer][:, :stop], self.dtype),
        )

    def stores(self) -> list[list[Tensor]]:
        """The scales, too; the values stay last."""
        return [self.key_scales, self.value_scales, self.keys, self.values]

    def _emptied_copy(self) -> Int8KVCache:
        other = object.__new__(Int8KVCache)
        other.dtype = self.dtype
        return other

    def _take(self, stores: list[list[Tensor]]) -> None:
        self.key_scales, self.value_scales, self.keys, self.values = stores


def quantised(x_GTK: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors as int8 [G, T, K] and their scales [G, T]; off by half a scale at most.

    A vector with NaN or infinity has a scale that is none either, so it is not lost in the rounding.
    """
    x = x_GTK.float()
    scale_GT = (x.abs().amax(-1) / LARGEST).to(SCALE_DTYPE)
    # A vector of zeros has scale 0: any divisor gives the zeros back.
    divisor_GT = scale_GT.float().clamp_min(torch.finfo(torch.float32).tiny)
    return (x / divisor_GT[..., None]).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale_GT


def dequantised(x_GSK: Tensor, scale_GS: Tensor, dtype: torch.dtype) -> Tensor:
    """The vectors in `dtype`, [G, S, K]; multiplied in f32, in place: 1.8 ms for 3 × 8,000 × 64, else 2.8."""
    return x_GSK.float().mul_(scale_GS[..., None]).to(dtype)
