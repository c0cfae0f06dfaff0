"""The histogram of the tail, made small: near the best it stays fine, far below it is kept in whole logits.

A vocabulary of 49,152 fills about 300 bins a token, whose exact counts and sums would take 1.1 MB for 1,000
tokens, however they are compressed (SmolLM2-135M, measured 2025-11). What they serve is shown as "about", so:
- the first 64 bins (8 logits) keep their exact counts,
- below, groups of 8 bins (1 logit) keep their exact sum of counts; each bin gets an equal share back; the
  last bin, which also holds whatever is lower, stays on its own,
- every log-sum-exp is kept to 1/64 (at most 0.8% off), as its distance from what its counts let expect.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from llama_chat.events import TAIL_BINS_PER_LOGIT

FINE_BINS = 64
_GROUP = TAIL_BINS_PER_LOGIT
_STEPS = 64
_ABSENT = -(2**31)
"""The code of a log-sum-exp that is not finite though its bins hold tokens."""


def pack_tail(counts: array[int], logsumexps: array[float], best: float) -> tuple[list[int], list[int]]:
    """The counts of the groups, and for each group that is not empty the code of its log-sum-exp."""
    sums: list[int] = []
    codes: list[int] = []
    for start, end in _groups(len(counts)):
        total = sum(counts[start:end])
        sums.append(total)
        if total:
            expected = best + _logsumexp(_expected(start, _shares(total, end - start)))
            codes.append(_code(_logsumexp(logsumexps[start:end]) - expected))
    return sums, codes


def unpack_tail(
    bins: int, sums: Iterable[int], codes: Iterator[int], best: float
) -> tuple[array[int], array[float]]:
    """Counts and log-sum-exps by bin, as near as `pack_tail` kept them.

    Args:
        bins: how many there were.
        sums: of this token alone.
        codes: as many are taken as sums are above 0.
        best: the largest penalised logit.
    """
    counts: array[int] = array("i")
    logsumexps: array[float] = array("f")
    for (start, end), total in zip(_groups(bins), sums, strict=True):
        shares = _shares(total, end - start)
        counts.extend(shares)
        shift = best + _offset(next(codes)) if total else -math.inf
        logsumexps.extend(value + shift for value in _expected(start, shares))
    return counts, logsumexps


def group_count(bins: int) -> int:
    """How many groups so many bins make."""
    return len(_groups(bins))


@lru_cache(maxsize=1024)
def _groups(bins: int) -> list[tuple[int, int]]:
    edges = [*range(min(bins, FINE_BINS)), *range(FINE_BINS, bins - 1, _GROUP)]
    if bins > FINE_BINS:
        edges.append(bins - 1)
    return list(pairwise([*edges, bins]))


def _shares(total: int, bins: int) -> list[int]:
    each, more = divmod(total, bins)
    return [each + 1] * more + [each] * (bins - more)


def _expected(start: int, counts: list[int]) -> list[float]:
    """Log-sum-exp of each bin, below the best, if its tokens lie in its middle."""
    return [
        math.log(count) - (start + i + 0.5) / TAIL_BINS_PER_LOGIT if count else -math.inf
        for i, count in enumerate(counts)
    ]


def _logsumexp(values: Iterable[float]) -> float:
    known = list(values)
    if len(known) == 1:
        return known[0]
    top = max(known)
    if not math.isfinite(top):
        return top
    return top + math.log(sum(math.exp(value - top) for value in known))


def _code(offset: float) -> int:
    return round(offset * _STEPS) if abs(offset) < 2**24 else _ABSENT


def _offset(code: int) -> float:
    return code / _STEPS if code != _ABSENT else -math.inf
