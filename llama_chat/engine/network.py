"""The seam between the generation loop and whatever computes logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from torch import Tensor

LogitsWanted: TypeAlias = Literal["none", "last", "all"]


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """Sizes and whereabouts of a network."""

    context_length: int
    vocab_size: int
    parameters: int
    weights_bytes: int
    device: str
    dtype: str
    """As the user knows it: the file's own quantised type, or `bf16`, `f32`."""
    threads: int


class Cache(Protocol):
    """Keys and values of the tokens that went through a network."""

    @property
    def length(self) -> int:
        """Tokens in it."""
        ...

    def rewind(self, length: int) -> int:
        """How many tokens are kept after dropping those from `length` on; may be fewer than asked."""
        ...

    def fork(self) -> Cache:
        """A copy that can go another way."""
        ...


class Network(Protocol):
    """Token ids in, logits out; V is the vocabulary, T the number of new ids."""

    @property
    def info(self) -> NetworkInfo:
        """Sizes and whereabouts."""
        ...

    def new_cache(self) -> Cache:
        """An empty cache."""
        ...

    def forward(self, token_ids: Sequence[int], cache: Cache, logits: LogitsWanted) -> Tensor | None:
        """Append the ids to the cache; the logits, f32 on the network's device.

        Returns:
            None for "none", [V] for "last", [T, V] for "all". Those of one id may lie where the next forward
            writes its own (`captured`): who keeps them keeps a copy.
        """
        ...

    def close(self) -> None:
        """Free the memory of the weights."""
        ...
