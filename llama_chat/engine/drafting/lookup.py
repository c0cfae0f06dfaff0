"""Drafts out of what stands in the context already: what followed the last ids when they came before.

Prompt lookup (Apoorv Saxena, 2023, github.com/apoorvumang/prompt-lookup-decoding, read): the longest match
counts, and of those the most recent. How often such a draft was right is counted for every token, drafted or
not, since that costs no forward.

With each token the matches grow by one id or end, so that only the places where it stood before are looked
at. Nothing is remembered from one reply to the next: the same seed shall tell the same, near ties included.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

LONGEST_MATCH = 16
"""Ids; longer matches are not told apart."""
MOST_PLACES = 64
"""Of one id, the last ones: where a text says one thing over and over, more of it tells no more."""
MEMORY = 32
"""About so many tokens back reaches what counts for how often a draft is right."""

_PRIOR = (0.15, 0.35, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8)
"""How often matches of 1, 2, ... ids are believed to be right before any was seen."""
_PRIOR_WEIGHT = 4.0


class Lookup:
    """A `Drafter` that knows nothing but the ids."""

    seconds_a_token = 0.0

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._places: dict[int, deque[int]] = {}
        """Where each id stands."""
        self._matches: dict[int, int] = {}
        """Places at which the last ids end, too, and how many of them."""
        self._end = -1
        """Where the match ends; -1: there is none."""
        self._matched = 0
        self._right: list[float] = []
        self._all: list[float] = []

    def begin(self, ids: Sequence[int], draw: object = None) -> None:
        """Another reply: these ids are in the context; what follows them is not drawn but found."""
        del draw
        self._ids, self._end, self._matched = list(ids), -1, 0
        self._right = [prior * _PRIOR_WEIGHT for prior in _PRIOR]
        self._all = [_PRIOR_WEIGHT] * len(_PRIOR)
        self._places = defaultdict(lambda: deque(maxlen=MOST_PLACES))
        for place, token_id in enumerate(self._ids):
            self._places[token_id].append(place)
        last = len(self._ids) - 1
        ends = self._places[self._ids[last]] if self._ids else ()
        self._matches = {end: self._matched_at(end, last) for end in ends if end < last}

    def learn(self, token_id: int) -> None:
        """The token came next: whether a draft would have been right, and what a draft can follow now."""
        if self._end >= 0:
            group = _group_of(self._matched)
            keep = 1 - 1 / MEMORY
            self._right[group] = self._right[group] * keep + (self._ids[self._end + 1] == token_id)
            self._all[group] = self._all[group] * keep + 1
        places, before = self._places[token_id], self._matches
        self._end, self._matched = -1, 0
        self._matches = {}
        for end in places:
            matched = self._matches[end] = before.get(end - 1, 0) + 1
            if min(matched, LONGEST_MATCH) >= self._matched:
                self._end, self._matched = end, min(matched, LONGEST_MATCH)
        places.append(len(self._ids))
        self._ids.append(token_id)

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
        found = self._ids[self._end + 1 : self._end + 1 + count]
        while len(found) < count:
            found.append(found[self._end + 1 + len(found) - len(self._ids)])
        return found

    def close(self) -> None:
        """It holds nothing."""

    def _matched_at(self, end: int, last: int) -> int:
        """How many ids up to that place are those up to the last."""
        ids, matched = self._ids, 1
        while matched < min(LONGEST_MATCH, end + 1) and ids[end - matched] == ids[last - matched]:
            matched += 1
        return matched


def _group_of(matched: int) -> int:
    """Lengths up to 4 by themselves, then 5 and 6, 7 to 9, 10 to 15, and the longest."""
    if matched <= 4:
        return matched - 1
    return 4 if matched <= 6 else 5 if matched <= 9 else 6 if matched < LONGEST_MATCH else 7
