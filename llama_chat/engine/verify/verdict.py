"""The bounds that two engines must keep to, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llama_chat.engine.verify.figures import Difference, Greedy
from llama_chat.settings import KV_WORDS

F32_RELATIVE = 1e-4
"""Largest difference over the largest logit of its row, in f32: rounding makes 1e-6 to 1e-5 of it."""
F32_TOP1 = 0.99


@dataclass(frozen=True, slots=True)
class Bound:
    """What fewer bits may cost, against f32."""

    mean_kl: float
    """Nats a token."""
    top1_share: float


# bf16 costs 0.001 nats, a file's own 4-bit numbers in bf16 products 0.001, 8-bit weights 0.003
# (SmolLM2-135M, 2026-11), and larger models less. 4-bit weights that are made while loading cost the most.
# The rest is room for other models; a wrong computation costs whole nats.
BOUNDS: Mapping[str, Bound] = {
    "bf16": Bound(0.01, 0.93),
    "f16": Bound(0.01, 0.93),
    "int8": Bound(0.03, 0.90),
    "int4": Bound(0.5, 0.65),
}
OWN_TYPE_BOUND = Bound(0.02, 0.90)
"""Of a file's own quantised type, whose numbers are the same in f32."""


Unit: TypeAlias = Literal["relative", "share", "nats", "logits"]
"""Of a figure: a difference over the largest logit; a part of the places, 0 to 1; nats a token; logits."""


@dataclass(frozen=True, slots=True)
class Check:
    """One figure against its bound, both in the unit."""

    what: str
    found: float
    bound: float
    unit: Unit
    passed: bool
    is_floor: bool = False
    """Whether more is better."""


def bound_of(dtype: str) -> Bound:
    """The bound of what the products run in: `bf16`, `Q4_1`; a cache of few bits has to keep it, too."""
    return BOUNDS.get(dtype.partition(KV_WORDS)[0], OWN_TYPE_BOUND)


def check_f32(places: Sequence[Difference], together: Greedy) -> list[Check]:
    """The engines must compute the same."""
    worst = max(places, key=lambda place: _or_worst(place.max_relative))
    margin = 0.0 if together.margin is None else together.margin
    near_tie = 2 * max(place.max_abs for place in places)
    return [
        _at_most(
            f"f32: largest relative difference (at {worst.place})",
            worst.max_relative,
            F32_RELATIVE,
            "relative",
        ),
        _at_least("f32: same likeliest token over the text", places[0].top1_share, F32_TOP1),
        # Where they part, the choice must have hung on less than the engines differ by anyway.
        _at_most("f32: margin where the greedy continuations part", margin, near_tie, "logits"),
    ]


def check_dtype(dtype: str, places: Sequence[Difference]) -> list[Check]:
    """Fewer bits may cost so much and no more."""
    bound = bound_of(dtype)
    worst = max(places, key=lambda place: _or_worst(place.mean_kl))
    return [
        _at_most(f"{dtype}: mean KL over the text", places[0].mean_kl, bound.mean_kl, "nats"),
        _at_least(f"{dtype}: same likeliest token over the text", places[0].top1_share, bound.top1_share),
        # Eight rows scatter more than a text.
        _at_most(
            f"{dtype}: mean KL at its worst (at {worst.place})", worst.mean_kl, 4 * bound.mean_kl, "nats"
        ),
    ]


def _or_worst(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _at_most(what: str, found: float, bound: float, unit: Unit) -> Check:
    return Check(what, found, bound, unit, found <= bound)  # NaN is never


def _at_least(what: str, share: float, bound: float) -> Check:
    return Check(what, share, bound, "share", share >= bound, is_floor=True)
