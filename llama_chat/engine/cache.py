"""The key/value cache: fixed lengths that grow in steps, so that a decode step keeps its shapes for long."""

from __future__ import annotations

import torch
from torch import Tensor

CACHE_STEP = 256
"""Positions by which a cache grows. A step compiled for one length serves until the next."""


class KVCache:
    """Keys and values of L layers, [G key/value heads, capacity, K head size] each, filled up to `length`.

    Rewinding is free: what lies behind `length` is overwritten by what comes next.
    """

    cuts_anywhere = True
    """Drafting may use it: `rewind` keeps what it is asked to keep."""

    def __init__(
        self,
        n_layers: int,
        n_kv_heads: int,
        head_dim: int,
        limit: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.limit = limit
        self._length = 0
        empty = torch.empty(n_kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.keys, self.values = [empty] * n_layers, [empty] * n_layers

    @property
    def length(self) -> int:
        """Positions filled."""
        return self._length

    @property
    def capacity(self) -> int:
        """Positions that there is memory for."""
        return self.values[-1].shape[1]  # the last to grow, should memory end on the way

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return sum(tensor.nbytes for store in self.stores() for tensor in store)

    def stores(self) -> list[list[Tensor]]:
        """All that is kept of the layers, [G, capacity, ...] each; the values come last."""
        return [self.keys, self.values]

    def write(self, layer: int, keys_GTK: Tensor, values_GTK: Tensor) -> None:
        """Put in what a layer makes of the positions behind `length`; `advance` counts them."""
        start, stop = self._length, self._length + keys_GTK.shape[1]
        self.keys[layer][:, start:stop] = keys_GTK
        self.values[layer][:, start:stop] = values_GTK

    def read(self, layer: int, stop: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of the positions before `stop`, [G, stop, K] each."""
        return self.keys[layer][:, :stop], self.values[layer][:, :stop]

    def reserve(self, length: int) -> None:
        """Make room for that many positions, in whole steps; one layer after the other, which keeps it small.

        Raises:
            ValueError: more than the model's context.
        """
        if length > self.limit:
            raise ValueError(f"{length} positions asked of a cache that is limited to {self.limit}")
        if length <= self.capacity:
            return
        capacity = cache_capacity(length)
        for layer in range(len(self.keys)):
            for store in self.stores():
                store[layer] = self._grown(store[layer], capacity)

    def _grown(self, store: Tensor, capacity: int) -> Tensor:
        # Zeros, not garbage: a step that attends over the full length multiplies what is masked by 0.
        grown = store.new_zeros(store.shape[0], capacity, *store.shape[2:])
        grown[:, : self._length] = store[:, : self._length]
        return grown

    def advance(self, count: int) -> None:
        """Count the positions that a forward has just written."""
        self._length += count

    def rewind(self, length: int) -> int:
        """The new length: everything from `length` on is forgotten."""
        self._length = min(self._length, max(0, length))
        return self._length

    def fork(self) -> KVCache:
        """A copy that can go another way; costs one copy of the memory that is filled, in whole steps."""
        other = self._emptied_copy()
        other.limit = self.limit
        other._length = self._length
        used = cache_capacity(self._length)
        other._take([[tensor[:, :used].clone() for tensor in store] for store in self.stores()])
        return other

    def _emptied_copy(self) -> KVCache:
        return object.__new__(KVCache)

    def _take(self, stores: list[list[Tensor]]) -> None:
        """Have these as `stores`."""
        self.keys, self.values = stores


def cache_capacity(length: int) -> int:
    """The positions that a cache has room for once it holds `length`: whole steps."""
    return -(-length // CACHE_STEP) * CACHE_STEP
