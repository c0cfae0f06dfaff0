"""The chance of a choice, worked out again without torch: what could be chosen, and by what margin.

The choice is the token with the highest score: its logit after penalty and temperature, plus Gumbel noise
that is a function of (reply seed, index in the reply, token id) alone. `engine.sampler` does the same over
whole vocabularies; the hash is described there.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from llama_chat.events import TAIL_BINS_PER_LOGIT, Candidates
from llama_chat.sampling import Sampling

SMALLEST_TEMPERATURE = 1e-30
"""Still a number in f32."""

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Reshaped:
    """What may be chosen of the candidates, the likeliest first."""

    token_ids: tuple[int, ...]
    scaled: tuple[float, ...]
    """Logits relative to the best, divided by the temperature; their softmax is what is drawn from."""
    is_exact: bool
    """Whether it is all that may be chosen; else tokens beyond the candidates may be too, or one may be
    here by the rounding of the tail."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many tokens a filter leaves: `about`, and between which counts it is for certain."""

    least: int
    about: int
    most: int


@dataclass(frozen=True, slots=True)
class Cuts:
    """How many of the likeliest tokens each filter would leave, by itself, of those before it.

    Where a count reaches beyond the candidates (it is then their number), it stands for "these and more".
    """

    top_k: int
    """Of the whole vocabulary."""
    top_p: Count
    """Of the candidates that top-k leaves."""
    min_p: int
    """Likewise."""


def cuts(candidates: Candidates, sampling: Sampling) -> Cuts:
    """What top-k, top-p and min-p leave of the candidates, after the temperature (greedy: one each)."""
    ids = candidates.token_ids
    if sampling.is_greedy or len(ids) < 2:
        return Cuts(len(ids[:1]), Count(*(len(ids[:1]),) * 3), len(ids[:1]))
    return _cuts(candidates, sampling, scaled_logits(candidates.penalised, sampling.temperature))


def _cuts(candidates: Candidates, sampling: Sampling, all_scaled: Sequence[float]) -> Cuts:
    beyond = sum(candidates.tail_counts)
    top_k = min(sampling.top_k, len(all_scaled) + beyond) or len(all_scaled) + beyond
    scaled = all_scaled[:top_k]
    by_top_p = Count(*(len(scaled),) * 3)
    if sampling.top_p < 1:
        weights = [math.exp(value) for value in scaled]
        tails = _tail_weights(candidates, sampling.temperature, top_k - len(scaled))
        by_top_p = Count(*(_count_by_top_p(weights, sampling.top_p, sum(weights) + tail) for tail in tails))
    by_min_p = len(scaled)
    if sampling.min_p > 0:
        by_min_p = max(1, sum(value >= math.log(sampling.min_p) for value in scaled))
    return Cuts(top_k, by_top_p, by_min_p)


def reshaped(candidates: Candidates, sampling: Sampling) -> Reshaped:
    """What temperature, top-k, top-p and min-p leave of the candidates (their penalty is in them)."""
    ids = tuple(candidates.token_ids)
    if sampling.is_greedy or len(ids) < 2:
        return Reshaped(ids[:1], (0.0,) * len(ids[:1]), True)
    scaled = scaled_logits(candidates.penalised, sampling.temperature)
    left = _cuts(candidates, sampling, scaled)
    fewest, kept, most = (
        min(count, left.min_p) for count in (left.top_p.least, left.top_p.about, left.top_p.most)
    )
    is_exact = fewest == most and (left.top_k <= len(ids) or most < len(ids))
    return Reshaped(ids[:kept], tuple(scaled[:kept]), is_exact)


def scores(candidates: Candidates, sampling: Sampling, seed: int, index: int) -> list[tuple[int, float]]:
    """Token ids and scores of what may be chosen of the candidates, the likeliest first.

    The highest score is the choice, where `reshaped` is exact; the distance of two scores times the
    temperature is their distance in logits. Greedy: the likeliest token alone, with a score of 0.
    """
    left = reshaped(candidates, sampling)
    if sampling.is_greedy:
        return [(token_id, 0.0) for token_id in left.token_ids]
    return [
        (token_id, value + gumbel(seed, index, token_id))
        for token_id, value in zip(left.token_ids, left.scaled, strict=True)
    ]


def score(scaled: float, seed: int, index: int, token_id: int) -> float:
    """The score of a token whose reshaped logit is `scaled`."""
    return scaled + gumbel(seed, index, token_id)


def gumbel(seed: int, index: int, token_id: int) -> float:
    """The noise of one token: -log(-log(u)), u from a hash of (seed, index, id).

    numpy's logarithm, which the sampler takes, may differ in the last of 53 bits.
    """
    v = (_hash32(seed, index, token_id) + 0.5) * 2.0**-32
    return -math.log(-math.log1p(-v))


# --- reshaping -------------------------------------------------------------------------------------


def scaled_logits(penalised: array[float], temperature: float) -> list[float]:
    """Logits relative to the first, divided by the temperature.

    In f32 as the sampler computes it: one rounding for the difference, one for the quotient.
    """
    divisor = _f32(max(temperature, SMALLEST_TEMPERATURE))
    return [_f32(_f32(value - penalised[0]) / divisor) for value in penalised]


def _f32(value: float) -> float:
    return array("f", [value])[0] if abs(value) < 3.4e38 else math.copysign(math.inf, value)


def _count_by_top_p(weights: Sequence[float], top_p: float, total: float) -> int:
    """A token stays while the probabilities of those ahead of it do not reach top_p."""
    ahead = (sum_ - weight for sum_, weight in zip(accumulate(weights), weights, strict=True))
    return max(1, sum(value < top_p * total for value in ahead))


def _tail_weights(candidates: Candidates, temperature: float, wanted: int) -> tuple[float, float, float]:
    """The sum of exp over the `wanted` likeliest scaled logits beyond the candidates: least, about, most."""
    low = middle = high = 0.0
    divisor = max(temperature, SMALLEST_TEMPERATURE)
    for count, *distances in _tail_bins(candidates, wanted):
        most, about, least = (count * math.exp(-distance / divisor) for distance in distances)
        low, middle, high = low + least, middle + about, high + most
    return low, middle, high


def tail_weight(candidates: Candidates, temperature: float, wanted: int) -> float:
    """About the sum of exp over the `wanted` likeliest scaled logits beyond the candidates."""
    return _tail_weights(candidates, temperature, wanted)[1]


def tokens_within(candidates: Candidates, distance: float) -> int:
    """About how many tokens beyond the candidates lie at most so many logits below the best."""
    width = distance * TAIL_BINS_PER_LOGIT
    whole = max(0, int(width))
    counts = candidates.tail_counts
    partly = counts[whole] * (width - whole) if whole < len(counts) and width > 0 else 0.0
    return sum(counts[:whole]) + round(partly)


def _tail_bins(candidates: Candidates, wanted: int) -> Iterator[tuple[int, float, float, float]]:
    """For each bin its count and the logits that it lies below the best: least, about, most."""
    best, last = candidates.penalised[0], candidates.penalised[-1]
    for place, count in enumerate(candidates.tail_counts):
        taken = min(count, wanted)
        if taken <= 0:
            continue
        wanted -= taken
        nearest = max(place / TAIL_BINS_PER_LOGIT, best - last)
        farthest = (place + 1) / TAIL_BINS_PER_LOGIT
        if place == len(candidates.tail_counts) - 1:
            farthest = math.inf
        mean = best + math.log(count) - candidates.tail_logsumexp[place]
        yield taken, nearest, min(max(mean, nearest), farthest), farthest


# --- the hash --------------------------------------------------------------------------------------


def noise_key(seed: int, index: int) -> tuple[int, int]:
    """What the hash mixes into the ids of one token: the lower and the upper 32 bits."""
    key = _splitmix64(_splitmix64(seed & _MASK64) ^ (index & _MASK64))
    return key & _MASK32, key >> 32


def _hash32(seed: int, index: int, token_id: int) -> int:
    low, high = noise_key(seed, index)
    return _mix32(_mix32((token_id & _MASK32) ^ low) ^ high)


def _splitmix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return x ^ (x >> 31)


def _mix32(x: int) -> int:
    x ^= x >> 16
    x = (x * 0x7FEB352D) & _MASK32
    x ^= x >> 15
    x = (x * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)
