"""How close the choice was where two runs differ, worked out from the rerun's candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llama_chat.chance import gumbel, reshaped
from llama_chat.events import Sampling, Token

NEAR_TIE_LOGITS = 0.25
"""Up to this margin a difference is one of rounding.

bf16 logits between 16 and 32 are 1/8 apart, and each of the two may come out one step off. Measured on the
default model (Q4_1, 238 tokens at temperature 0.8, 2026-11-22): two thread counts gave the same bits; the
prompt in one forward, where it was recorded in several, put log-probabilities off by up to 0.15 and changed
6 choices, by margins of 0.01 to 0.13. Quantised otherwise (int8), choices changed by up to 0.59.
"""


@dataclass(frozen=True, slots=True)
class Margin:
    """How far the rerun's choice was ahead of the recorded one."""

    logits: float
    """Of the scores (reshaped logit plus noise), times the temperature; never negative."""
    is_exact: bool
    is_cut: bool
    """Whether the filters left no room for the recorded token in the rerun."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What the noise of one choice depends on."""

    sampling: Sampling
    seed: int
    index: int


def margin_of(chosen: Token, recorded_id: int, recorded_logprob: float | None, draw: Draw) -> Margin:
    """The margin between the rerun's token and the recorded one.

    Where the latter is not among the 64 candidates, its logit is that which the record tells, but not above
    the last candidate's.

    Args:
        chosen: by the rerun, with its candidates.
        recorded_id: of the token that the record has at this place.
        recorded_logprob: of that token, if it was kept.
        draw: settings, seed and index of the choice.
    """
    temperature = 0.0 if draw.sampling.is_greedy else draw.sampling.temperature
    theirs, is_exact = penalised_of(chosen, recorded_id, recorded_logprob)
    ours, _ = penalised_of(chosen, chosen.token_id, chosen.logprob)
    ahead = ours - theirs
    if temperature:
        noise = [gumbel(draw.seed, draw.index, token_id) for token_id in (chosen.token_id, recorded_id)]
        ahead += temperature * (noise[0] - noise[1])
    return Margin(max(0.0, ahead), is_exact, is_cut(chosen, recorded_id, draw.sampling))


def penalised_of(token: Token, token_id: int, logprob: float | None) -> tuple[float, bool]:
    """The logit of an id at the token's place, after the penalty, and whether that is exact."""
    candidates = token.candidates
    for known_id, penalised in zip(candidates.token_ids, candidates.penalised, strict=True):
        if known_id == token_id:
            return penalised, True
    if token_id == token.token_id:
        return token.logprob + candidates.logsumexp, True
    most = candidates.penalised[-1] if len(candidates) else math.inf
    return (most if logprob is None else min(most, logprob + candidates.logsumexp)), False


def probability_of(token: Token | None, token_id: int) -> float | None:
    """What the run whose choice is given gave for an id; None where its candidates do not tell."""
    if token is None:
        return None
    value, is_exact = penalised_of(token, token_id, None)
    probability = math.exp(value - token.candidates.logsumexp) if is_exact else math.nan
    return probability if math.isfinite(probability) else None


def is_cut(token: Token, token_id: int, sampling: Sampling) -> bool:
    """Whether the filters surely cut the id at the token's place; where greed decides, nothing is cut."""
    if sampling.is_greedy:
        return False
    left = reshaped(token.candidates, sampling)
    return left.is_exact and token_id not in left.token_ids
