"""One place where the rerun chose otherwise, told and judged."""

from __future__ import annotations

import math
from collections.abc import Collection

from llama_chat.events import Token
from llama_chat.rerun.edge import Edge, edge_of
from llama_chat.rerun.margin import (
    NEAR_TIE_LOGITS,
    Draw,
    Margin,
    margin_of,
    penalised_of,
    probability_of,
)
from llama_chat.rerun.recorded import RecordedReply
from llama_chat.rerun.verdict import Difference, Pick

TEXT_BEFORE_TOKENS = 12
TEXT_AFTER_TOKENS = 12
"""Tokens of the record that are shown around a difference."""


def difference_at(
    recorded: RecordedReply,
    place: int,
    choice: Token,
    rest: str,
    end_ids: Collection[int],
    *,
    is_end: bool,
) -> Difference:
    """The difference at a place.

    Args:
        recorded: the reply.
        place: index of the token; one behind the last is the end of the reply.
        choice: of the rerun.
        rest: how the rerun went on after it.
        end_ids: tokens that end a reply: which of them the record means is not kept.
        is_end: whether the rerun's choice ended the reply.
    """
    margin = _margin_at(recorded, place, choice, end_ids)
    reason = _reason(margin)
    is_near = not reason and margin is not None and margin.logits <= NEAR_TIE_LOGITS
    edge = None if is_near else _edge_at(recorded, place, choice, end_ids)
    if edge is not None:
        margin, reason = Margin(edge.logits, is_exact=True, is_cut=False), f"at the edge of {edge.name}"
    return Difference(
        index=place,
        verdict="near tie" if is_near or edge is not None else "diverged",
        margin=margin.logits if margin is not None and math.isfinite(margin.logits) else None,
        is_margin_exact=margin is not None and margin.is_exact,
        reason=reason,
        recorded=_recorded_pick(recorded, place, choice),
        rerun=_rerun_pick(recorded, place, choice, is_end=is_end),
        before=recorded.text_between(place - TEXT_BEFORE_TOKENS, place),
        recorded_text=recorded.text_between(place, place + TEXT_AFTER_TOKENS),
        rerun_text="" if is_end else choice.text + rest,
    )


def logprob_difference(recorded: RecordedReply, place: int, choice: Token) -> float | None:
    """How far the log-probabilities of the recorded token are apart; None where one is not known."""
    then = recorded.logprob_at(place)
    if then is None:
        return None
    if choice.token_id == recorded.ids[place]:
        return abs(choice.logprob - then)
    value, is_exact = penalised_of(choice, recorded.ids[place], None)
    apart = abs(value - choice.candidates.logsumexp - then)
    return apart if is_exact and math.isfinite(apart) else None


def _margin_at(recorded: RecordedReply, place: int, choice: Token, end_ids: Collection[int]) -> Margin | None:
    """The margin over the recorded token, or over the end that was nearest to being chosen."""
    is_recorded_end = place == len(recorded.ids)
    wanted = end_ids if is_recorded_end else (recorded.ids[place],)
    logprob = None if is_recorded_end else recorded.logprob_at(place)
    draw = Draw(recorded.sampling_at(place), recorded.reply.seed, place)
    margins = [margin_of(choice, token_id, logprob, draw) for token_id in wanted]
    return min(margins, key=lambda margin: (margin.is_cut, margin.logits), default=None)


def _edge_at(recorded: RecordedReply, place: int, choice: Token, end_ids: Collection[int]) -> Edge | None:
    """The nearest edge of a filter beyond which the record's choice would have been the rerun's too."""
    wanted = end_ids if place == len(recorded.ids) else (recorded.ids[place],)
    sampling, seed = recorded.sampling_at(place), recorded.reply.seed
    edges = [edge_of(choice, token_id, sampling, seed, NEAR_TIE_LOGITS) for token_id in wanted]
    return min(filter(None, edges), key=lambda edge: edge.logits, default=None)


def _reason(margin: Margin | None) -> str:
    if margin is None:
        return "the model's end tokens are not known"
    return "the filters cut the recorded token" if margin.is_cut else ""


def _recorded_pick(recorded: RecordedReply, place: int, choice: Token) -> Pick:
    if place == len(recorded.ids):
        return Pick(None, "", True, None, None)
    token = recorded.token_at(place)
    token_id = recorded.ids[place]
    return Pick(
        token_id,
        _text_of(token) if token is not None else "",
        False,
        probability_of(token, token_id),
        probability_of(choice, token_id),
    )


def _rerun_pick(recorded: RecordedReply, place: int, choice: Token, *, is_end: bool) -> Pick:
    then = recorded.token_at(place) if place < len(recorded.ids) else None
    return Pick(
        choice.token_id,
        _text_of(choice),
        is_end,
        probability_of(then, choice.token_id),
        probability_of(choice, choice.token_id),
    )


def _text_of(token: Token) -> str:
    return token.piece.decode("utf-8", "replace")
