"""The candidates of a token as bars: what the model says, what the settings make of it, what cut the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llama_chat.chance import Cuts, cuts, reshaped, scaled_logits, tail_weight, tokens_within
from llama_chat.events import Candidates
from llama_chat.sampling import Sampling

Cut: TypeAlias = Literal["", "temperature", "top_k", "top_p", "min_p"]
"""Which setting cut a candidate, the first in the sampler's order; temperature 0 cuts all but the best."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One candidate."""

    token_id: int
    before: float
    """Its probability as the model has it (after the repetition penalty, at temperature 1, nothing cut)."""
    warmed: float
    """At the temperature, nothing cut."""
    after: float
    """What it is drawn with; 0 where it is cut."""
    cut_by: Cut


@dataclass(frozen=True, slots=True)
class Stage:
    """One filter of the sampler that cut something."""

    setting: Cut
    left: int
    """Tokens that it leaves."""
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """All that is known of one choice, the likeliest candidate first."""

    bars: tuple[Bar, ...]
    stages: tuple[Stage, ...]
    """In the sampler's order; filters that cut nothing are left out."""
    vocab_size: int
    is_exact: bool
    """Whether all that may be drawn is among the bars; else the probabilities after sampling are about."""

    @property
    def left(self) -> int:
        """Tokens that may be drawn."""
        return self.stages[-1].left if self.stages else self.vocab_size

    def of(self, token_id: int) -> Bar | None:
        """The bar of that token; None where it is not among the candidates."""
        return next((bar for bar in self.bars if bar.token_id == token_id), None)

    @property
    def beyond_before(self) -> float:
        """The probability of all tokens that have no bar, as the model has it."""
        return max(0.0, 1.0 - math.fsum(bar.before for bar in self.bars))


def bars_of(candidates: Candidates, sampling: Sampling) -> Bars:
    """What the settings make of the candidates: under 1 ms for 64.

    It is what the sampler drew from, but for the last bits, where all that may be drawn is among the
    candidates; elsewhere the histogram of the tail stands for the rest.
    """
    vocab_size = len(candidates) + sum(candidates.tail_counts)
    if not len(candidates):
        return Bars((), (), vocab_size, True)
    before = [math.exp(value - candidates.logsumexp) for value in candidates.penalised]
    if sampling.is_greedy:
        return _greedy(candidates, before, sampling, vocab_size)
    scaled = scaled_logits(candidates.penalised, sampling.temperature)
    weights = [math.exp(value) for value in scaled]
    whole = math.fsum(weights) + tail_weight(candidates, sampling.temperature, vocab_size - len(scaled))
    left, drawable = cuts(candidates, sampling), reshaped(candidates, sampling)
    stages = tuple(_stages(candidates, sampling, left, vocab_size))
    kept = len(drawable.token_ids)
    drawn = math.fsum(weights[:kept])
    if not drawable.is_exact and kept == len(scaled):
        most = stages[-1].left if stages else vocab_size
        drawn += tail_weight(candidates, sampling.temperature, most - kept)
    found = (
        Bar(token_id, before[place], weight / whole, weight / drawn if place < kept else 0.0, cut)
        for place, (token_id, weight) in enumerate(zip(candidates.token_ids, weights, strict=True))
        for cut in [_cut_by(place, left)]
    )
    return Bars(tuple(found), stages, vocab_size, drawable.is_exact)


def _greedy(candidates: Candidates, before: list[float], sampling: Sampling, vocab_size: int) -> Bars:
    cut: Cut = "temperature" if sampling.temperature == 0 else "top_k"
    ones = [1.0] + [0.0] * (len(before) - 1)
    bars = tuple(
        Bar(token_id, before[place], one if cut == "temperature" else before[place], one, "" if one else cut)
        for place, (token_id, one) in enumerate(zip(candidates.token_ids, ones, strict=True))
    )
    return Bars(bars, (Stage(cut, 1, True),), vocab_size, True)


def _cut_by(place: int, left: Cuts) -> Cut:
    if place >= left.top_k:
        return "top_k"
    if place >= left.top_p.about:
        return "top_p"
    return "min_p" if place >= left.min_p else ""


def _stages(candidates: Candidates, sampling: Sampling, left: Cuts, vocab_size: int) -> Iterator[Stage]:
    count, is_exact = vocab_size, True
    if left.top_k < count:
        count = left.top_k
        yield Stage("top_k", count, True)
    shown = min(len(candidates), count)
    if sampling.top_p < 1:
        is_exact = left.top_p.least == left.top_p.most and (left.top_p.most < shown or shown == count)
        by_top_p = left.top_p.about
        if by_top_p == shown < count:
            by_top_p = _count_to_share(candidates, sampling, count)
        if by_top_p < count:
            count = by_top_p
            yield Stage("top_p", count, is_exact)
    if sampling.min_p > 0:
        by_min_p = left.min_p
        is_within = by_min_p < shown or shown == count
        if not is_within:
            floor = -math.log(sampling.min_p) * sampling.temperature
            by_min_p += tokens_within(candidates, floor)
        if by_min_p < count:
            yield Stage("min_p", by_min_p, is_exact and is_within)


def _count_to_share(candidates: Candidates, sampling: Sampling, at_most: int) -> int:
    """About how many of the likeliest tokens have the share top-p of what so many have."""
    total = _weight_of(candidates, sampling, at_most)
    low, high = len(candidates), at_most
    while low < high:
        middle = (low + high) // 2
        if _weight_of(candidates, sampling, middle) < sampling.top_p * total:
            low = middle + 1
        else:
            high = middle
    return low


def _weight_of(candidates: Candidates, sampling: Sampling, count: int) -> float:
    """About the sum of exp over so many of the likeliest scaled logits, all candidates among them."""
    scaled = scaled_logits(candidates.penalised, sampling.temperature)
    beyond = tail_weight(candidates, sampling.temperature, count - len(scaled))
    return math.fsum(map(math.exp, scaled)) + beyond
