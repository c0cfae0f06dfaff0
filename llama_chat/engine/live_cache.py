"""A network's cache together with the ids behind it and the forwards that filled it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from torch import Tensor

from llama_chat.engine.network import LogitsWanted, Network
from llama_chat.events import Forward

PREFILL_CHUNK = 256
"""Tokens of one prefill forward; between two of them a cancel is seen."""


class LiveCache:
    """What a next turn can go on from: it prefills only what follows the longest common prefix."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.cache = network.new_cache()
        self.ids: list[int] = []
        self.forwards: list[Forward] = []

    def reuse(self, ids: Sequence[int]) -> int:
        """How many of the ids are kept from before, after dropping what differs.

        At least the last id is always left to compute, since its logits are wanted.
        """
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.ids, ids, strict=False)))
        return self.rewind(min(common, len(ids) - 1))

    def rewind(self, length: int) -> int:
        """How many tokens are kept; a cache that cannot be cut keeps fewer than asked."""
        kept = self.cache.rewind(length)
        del self.ids[kept:]
        self.forwards = [
            forward if forward.start + forward.kept <= kept else _shorten(forward, kept)
            for forward in self.forwards
            if forward.start < kept
        ]
        return kept

    def extend(self, ids: Sequence[int], logits: LogitsWanted, kind: str) -> Tensor | None:
        """The network's logits for the ids, which are appended; all of them, or none when it fails."""
        try:
            out = self.network.forward(ids, self.cache, logits)
        except BaseException:
            self.rewind(len(self.ids))
            raise
        start = len(self.ids)
        self.ids.extend(ids)
        last = self.forwards[-1] if self.forwards else None
        if kind == "step" and last is not None and last.kind == "step":
            self.forwards[-1] = Forward(last.start, 1, last.kept + 1, "step")
        else:
            self.forwards.append(Forward(start, len(ids), len(ids), "step" if kind == "step" else "prefill"))
        return out

    def prefill(self, ids: Sequence[int], is_cancelled: Callable[[], bool]) -> Iterator[Tensor | None]:
        """None after each chunk, the logits of the last id after the last; ends early when cancelled."""
        for start in range(0, len(ids), PREFILL_CHUNK):
            if is_cancelled():
                return
            chunk = ids[start : start + PREFILL_CHUNK]
            is_last = start + PREFILL_CHUNK >= len(ids)
            yield self.extend(chunk, "last" if is_last else "none", "prefill")


def _shorten(forward: Forward, length: int) -> Forward:
    return Forward(forward.start, forward.rows, length - forward.start, forward.kind)
