"""Drafts out of what stands in the context already: what followed the last ids when they came before.

Prompt lookup (Apoorv Saxena, 2023, github.com/apoorvumang/prompt-lookup-decoding, read): the longest match
counts, and of those the most recent. How often such a draft was right is counted for every token, drafted or
not, since that costs no forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST_MATCH = 16
"""Ids; longer matches are not told apart."""
MEMORY = 32
"""About so many tokens back reaches what counts for how often a draft is right."""

_PRIOR = (0.15, 0.35, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8)
"""How often matches of 1, 2, ... ids are believed to be right before any was seen."""
_PRIOR_WEIGHT = 4.0


class Lookup:
    """A `Drafter` that knows nothing but the ids."""

    seconds_a_token = 0.0

    def __init__(self) -> None:
        self._ids_S: NDArray[np.int64] = np.zeros(0, np.int64)
        self._length = 0
        self._end = -1
        """Where the match ends; -1: there is none."""
        self._matched = 0
        self._right = [prior * _PRIOR_WEIGHT for prior in _PRIOR]
        self._all = [_PRIOR_WEIGHT] * len(_PRIOR)

    def begin(self, ids: Sequence[int], draw: object = None) -> None:
        """Another reply: these ids are in the context; what follows them is not drawn but found."""
        del draw
        self._length, self._end, self._matched = 0, -1, 0
        self._append(ids)

    def learn(self, token_id: int) -> None:
        """The token came next: whether a draft would have been right, and what a draft can follow now."""
        if self._end >= 0:
            group = _group_of(self._matched)
            keep = 1 - 1 / MEMORY
            self._right[group] = self._right[group] * keep + (self._ids_S[self._end + 1] == token_id)
            self._all[group] = self._all[group] * keep + 1
        self._append([token_id])
        self._find()

    def chances(self, most: int) -> list[float]:
        """How likely each drafted token is right where those before it are; empty without a match."""
        if self._end < 0:
            return []
        groups = (_group_of(self._matched + n) for n in range(most))
        return [self._right[group] / self._all[group] for group in groups]

    def draft(self, count: int) -> list[int]:
        """What followed the match; where that reaches the end, what would follow if it went on so."""
        if self._end < 0:
            return []
        found: list[int] = []
        for at in range(self._end + 1, self._end + 1 + count):
            found.append(int(self._ids_S[at]) if at < self._length else found[at - self._length])
        return found

    def close(self) -> None:
        """It holds nothing."""

    def _append(self, ids: Sequence[int]) -> None:
        needed = self._length + len(ids)
        if needed > len(self._ids_S):
            grown = np.zeros(2 * needed, np.int64)
            grown[: self._length] = self._ids_S[: self._length]
            self._ids_S = grown
        self._ids_S[self._length : needed] = ids
        self._length = needed

    def _find(self) -> None:
        """The longest match with the last ids; one more id of it decides in every round."""
        last = self._length - 1
        ids_S = self._ids_S
        ends = np.flatnonzero(ids_S[: max(0, last)] == ids_S[last])
        self._matched, self._end = 0, -1
        while len(ends) and self._matched < LONGEST_MATCH:
            self._matched += 1
            self._end = int(ends[-1])
            ends = ends[ends >= self._matched]
            ends = ends[ids_S[ends - self._matched] == ids_S[last - self._matched]]


def _group_of(matched: int) -> int:
    """Lengths up to 4 by themselves, then 5 and 6, 7 to 9, 10 to 15, and the longest."""
    if matched <= 4:
        return matched - 1
    return 4 if matched <= 6 else 5 if matched <= 9 else 6 if matched < LONGEST_MATCH else 7
