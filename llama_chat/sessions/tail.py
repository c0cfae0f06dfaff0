"""The histogram of the tail, made small: near the best it stays fine, far below it is kept in whole logits.

A vocabulary of 49,152 fills about 300 bins a token, whose exact counts and sums would take over 1 MB for
1,000 tokens, however they are compressed (SmolLM2-135M, measured 2026-11). What they serve is shown as
"about", so bins are kept in groups:
- the first 64 bins (8 logits) each on its own, then 1 logit together, from 16 logits on 4 logits together;
  the last bin, which also holds whatever is lower, stays on its own;
- a group keeps its exact count, of which each bin gets an equal share back, and its log-sum-exp to 1/32 (at
  most 1.6% off), as the distance from what its count lets expect.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise

from llama_chat.events import TAIL_BINS_PER_LOGIT

_FINE, _COARSE = 8 * TAIL_BINS_PER_LOGIT, 16 * TAIL_BINS_PER_LOGIT
_STEPS = 32
_ABSENT = -(2**31)
"""The code of a log-sum-exp that is not finite though its bins hold tokens."""

_WEIGHTS = [math.exp(-(i + 0.5) / TAIL_BINS_PER_LOGIT) for i in range(4 * TAIL_BINS_PER_LOGIT)]
_WEIGHT_SUMS = list(accumulate(_WEIGHTS, initial=0.0))
"""What the first n bins of a group hold, relative to its upper edge, with one token in the middle of each."""


def pack_tail(counts: Sequence[int], logsumexps: Sequence[float], best: float) -> tuple[list[int], list[int]]:
    """The counts of the groups, and for each group that is not empty the code of its log-sum-exp.

    Args:
        counts: by bin.
        logsumexps: by bin.
        best: the largest penalised logit.
    """
    sums: list[int] = []
    codes: list[int] = []
    for start, end in _groups(len(counts)):
        total = counts[start] if end - start == 1 else sum(counts[start:end])
        sums.append(total)
        if total:
            kept = logsumexps[start] if end - start == 1 else _logsumexp(logsumexps[start:end])
            codes.append(_code(kept - best - _expected(start, end, total)))
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
        shift = best + _offset(next(codes)) if total else 0.0
        each, more = divmod(total, end - start)
        for i in range(start, end):
            count = each + (i - start < more)
            counts.append(count)
            logsumexps.append(_in_the_middle(i, count) + shift)
    return counts, logsumexps


def group_count(bins: int) -> int:
    """How many groups so many bins make."""
    return len(_groups(bins))


@lru_cache(maxsize=1024)
def _groups(bins: int) -> list[tuple[int, int]]:
    """Start and end of each group."""
    fine = range(min(bins, _FINE))
    middle = range(_FINE, min(bins - 1, _COARSE), TAIL_BINS_PER_LOGIT)
    coarse = range(_COARSE, bins - 1, len(_WEIGHTS))
    last = (bins - 1, bins) if bins > _FINE else (bins,)
    return list(pairwise(chain(fine, middle, coarse, last)))


def _expected(start: int, end: int, total: int) -> float:
    """The log-sum-exp of a group, below the best, if its tokens are spread evenly."""
    each, more = divmod(total, end - start)
    mass = each * _WEIGHT_SUMS[end - start] + _WEIGHT_SUMS[more]
    return math.log(mass) - start / TAIL_BINS_PER_LOGIT


def _in_the_middle(index: int, count: int) -> float:
    return math.log(count) - (index + 0.5) / TAIL_BINS_PER_LOGIT if count else -math.inf


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    if not math.isfinite(top):
        return top
    return top + math.log(sum([math.exp(value - top) for value in values]))


def _code(offset: float) -> int:
    return round(offset * _STEPS) if abs(offset) < 2**24 else _ABSENT


def _offset(code: int) -> float:
    return code / _STEPS if code != _ABSENT else -math.inf
