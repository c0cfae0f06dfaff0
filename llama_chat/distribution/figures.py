"""Figures of single choices and of whole replies: surprise, entropy, perplexity, how varied the words are.

Logarithms are natural where a name says `logprob`, to base 2 where it says bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from llama_chat.events import TAIL_BINS_PER_LOGIT, Candidates

BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Entropy:
    """How open a choice was, in bits: 0 where one token is certain, log2 of V where all are alike."""

    bits: float
    error_bits: float
    """At most so far off, since of the tail only a histogram is known."""


def surprise_bits(logprob: float) -> float:
    """-log2 of the probability: 1 bit for one of two, 10 bits for one of 1,024."""
    return -logprob / math.log(2)


def entropy(candidates: Candidates) -> Entropy:
    """Of the model's own distribution (temperature 1, nothing cut): log-sum-exp minus the mean logit.

    The mean logit of a bin of the tail lies within the bin, and no lower than its log-sum-exp less the log
    of its count (its tokens cannot be more evenly spread than evenly).
    """
    if not len(candidates):
        return Entropy(math.nan, math.nan)
    total, best = candidates.logsumexp, candidates.penalised[0]
    mean = math.fsum(math.exp(value - total) * value for value in candidates.penalised)
    error = 0.0
    last = len(candidates.tail_counts) - 1
    for place, (count, logsumexp) in enumerate(
        zip(candidates.tail_counts, candidates.tail_logsumexp, strict=True)
    ):
        if not count or logsumexp == -math.inf:
            continue
        share = math.exp(logsumexp - total)
        high = min(best - place / TAIL_BINS_PER_LOGIT, logsumexp)
        low = logsumexp - math.log(count)
        if place < last:
            low = max(low, best - (place + 1) / TAIL_BINS_PER_LOGIT)
        low = min(low, high)
        mean += share * (low + high) / 2
        error += share * (high - low) / 2
    return Entropy(max(0.0, total - mean) / math.log(2), error / math.log(2))


def perplexity(logprobs: Sequence[float]) -> float:
    """Exp of the mean surprise: among so many equally likely tokens the model chose, on average.

    NaN for none; infinity beyond what a float holds.
    """
    if not logprobs:
        return math.nan
    try:
        return math.exp(-math.fsum(logprobs) / len(logprobs))
    except OverflowError:  # above 709 nats a token: damaged weights say such
        return math.inf


def bits_per_byte(logprobs: Sequence[float], nbytes: int) -> float:
    """The surprise of all tokens by the bytes that they are: it compares models with different tokens.

    NaN for none.
    """
    return surprise_bits(math.fsum(logprobs)) / nbytes if logprobs and nbytes else math.nan


def distinct_n(token_ids: Sequence[int], n: int) -> float:
    """The share of different n-grams among all: 1 where nothing is said twice, near 0 in a loop.

    NaN where there is none. Source: distinct-1 and distinct-2 of arXiv:1510.03055.
    """
    grams = list(zip(*(islice(token_ids, start, None) for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else math.nan


def sparkline(values: Iterable[float], width: int, *, low: float = 0.0, high: float | None = None) -> str:
    """The values as one line of blocks, at most `width` of them; several that share a column are averaged.

    Args:
        values: in order; those that are no numbers are left out of their column.
        width: columns.
        low: what the lowest block stands for.
        high: what the full block stands for; None for the largest of the columns.
    """
    known = list(values)
    columns = min(width, len(known))
    means: list[float] = []
    for column in range(columns):
        part = known[column * len(known) // columns : (column + 1) * len(known) // columns]
        numbers = [value for value in part if math.isfinite(value)]
        means.append(math.fsum(numbers) / len(numbers) if numbers else math.nan)
    top = high if high is not None else max((mean for mean in means if not math.isnan(mean)), default=1.0)
    return "".join(_block(mean, low, top) for mean in means)


def _block(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return BLOCKS[0]
    share = (value - low) / (high - low) if high > low else 1.0
    return BLOCKS[1 + round(min(max(share, 0.0), 1.0) * (len(BLOCKS) - 2))]
