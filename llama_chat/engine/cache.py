"""The key/value cache: fixed lengths that grow in steps, so that a decode step keeps its shapes for long."""

from __future__ import annotations

import torch
from torch import Tensor

CACHE_STEP = 256
"""Positions by which a cache grows. A step compiled for one length serves until the next."""


class KVCache:
    """Keys and values, [L layers, G key/value heads, capacity, K head size] each, filled up to `length`.

    Rewinding is free: what lies behind `length` is overwritten by what comes next.
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
        self.limit = limit
        self._length = 0
        self._allocate(torch.empty(2, n_layers, n_kv_heads, 0, head_dim, dtype=dtype, device=device))

    def _allocate(self, store: Tensor) -> None:
        self.store = store
        # One view a layer, made when the cache grows: the step itself indexes nothing.
        self.keys = list(store[0].unbind(0))
        self.values = list(store[1].unbind(0))

    @property
    def length(self) -> int:
        """Positions filled."""
        return self._length

    @property
    def capacity(self) -> int:
        """Positions that there is memory for."""
        return self.store.shape[3]

    def reserve(self, length: int) -> None:
        """Make room for that many positions, in whole steps.

        Raises:
            ValueError: more than the model's context.
        """
        if length > self.limit:
            raise ValueError(f"{length} positions asked of a cache that is limited to {self.limit}")
        if length <= self.capacity:
            return
        capacity = min(-(-length // CACHE_STEP) * CACHE_STEP, -(-self.limit // CACHE_STEP) * CACHE_STEP)
        shape = (*self.store.shape[:3], capacity, self.store.shape[4])
        # Zeros, not garbage: a step that attends over the full length multiplies what is masked by 0.
        grown = self.store.new_zeros(shape)
        grown[:, :, :, : self._length] = self.store[:, :, :, : self._length]
        self._allocate(grown)

    def advance(self, count: int) -> None:
        """Count the positions that a forward has just written."""
        self._length += count

    def rewind(self, length: int) -> int:
        """The new length: everything from `length` on is forgotten."""
        self._length = min(self._length, max(0, length))
        return self._length

    def fork(self) -> KVCache:
        """A copy that can go another way; costs one copy of the memory."""
        other = object.__new__(KVCache)
        other.limit = self.limit
        other._length = self._length
        other._allocate(self.store.clone())
        return other
