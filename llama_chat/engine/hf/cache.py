"""What transformers keeps of the tokens behind it, as a `Cache`: cut where it can be cut, else forgotten."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any


class HfCache:
    """Keys and values as transformers keeps them: a cache object of its own, which grows by concatenation.

    Sliding windows that are full and recurrent states hold no past to go back to: rewinding such a cache
    keeps nothing, and the loop computes the rest again.

    Args:
        make: makes an empty cache of the library.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.past: Any = make()
        self._length = 0

    @property
    def length(self) -> int:
        """Tokens in it."""
        return self._length

    @property
    def is_recurrent(self) -> bool:
        """Whether a layer keeps a state instead of every token."""
        return any(hasattr(layer, "recurrent_states") for layer in getattr(self.past, "layers", ()))

    def advance(self, count: int, past: Any) -> None:
        """Count the tokens that a forward has just added; `past` is what it gave back, if it did."""
        if past is not None:
            self.past = past
        self._length += count

    def forget(self) -> None:
        """Drop everything; after a forward that failed, layers may hold different numbers of tokens."""
        self.past = self._make()
        self._length = 0

    def rewind(self, length: int) -> int:
        """How many tokens are kept after dropping those from `length` on: what was asked for, or none."""
        surplus = self._length - max(0, length)
        if surplus <= 0:
            return self._length
        if surplus == self._length or not self._cut(surplus):
            self.forget()
        else:
            self._length -= surplus
        return self._length

    def _cut(self, surplus: int) -> bool:
        """Whether the last `surplus` tokens could be taken off every layer."""
        if not getattr(self.past, "is_croppable", False):
            return False
        try:
            self.past.crop(-surplus)
        except RuntimeError:  # what a sliding window raises once it has let tokens go
            return False
        return True

    @property
    def nbytes(self) -> int:
        """Memory taken by what the library's layers keep."""
        layers = getattr(self.past, "layers", ())
        return sum(getattr(value, "nbytes", 0) for layer in layers for value in vars(layer).values())

    def fork(self) -> HfCache:
        """A copy that can go another way; costs one copy of the memory."""
        other = HfCache.__new__(HfCache)
        other._make = self._make
        other.past = copy.deepcopy(self.past)
        other._length = self._length
        return other


class IdsCache:
    """For networks without any cache: the ids themselves, all of which go through at every forward."""

    def __init__(self, ids: tuple[int, ...] = ()) -> None:
        self.ids = list(ids)

    @property
    def length(self) -> int:
        """Tokens in it."""
        return len(self.ids)

    def rewind(self, length: int) -> int:
        """The new length: everything from `length` on is forgotten."""
        del self.ids[max(0, length) :]
        return len(self.ids)

    def fork(self) -> IdsCache:
        """A copy that can go another way."""
        return IdsCache(tuple(self.ids))
