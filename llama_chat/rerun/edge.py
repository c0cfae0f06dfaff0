"""Whether a difference lies at the edge of a filter: a rounding away, other tokens would have been let in.

Top-k, top-p and min-p each leave the likeliest tokens up to some place. Where the rounding of the logits
moves that place by one, a token is cut, or comes in, however far ahead its noise puts it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.chance import gumbel, reshaped, tail_weight
from llama_chat.events import Sampling, Token


@dataclass(frozen=True, slots=True)
class Edge:
    """A filter that a change of the logits would let end elsewhere."""

    name: str
    """As the settings call it: `top-p`."""
    logits: float
    """How large the change must be, and how far the recorded token's score is then behind, at most."""


def edge_of(choice: Token, recorded_id: int, sampling: Sampling, seed: int, most: float) -> Edge | None:
    """The nearest edge at which the recorded token would have been chosen; None within so many logits.

    Args:
        choice: of the rerun, with its candidates.
        recorded_id: the token that the record has at this place.
        sampling: the settings of the choice.
        seed: of the reply.
        most: further edges do not count.
    """
    ids = list(choice.candidates.token_ids)
    if sampling.is_greedy or recorded_id not in ids:
        return None
    count = len(reshaped(choice.candidates, sampling).token_ids)
    ends = _Ends(choice, sampling)
    scores = [
        penalised + ends.temperature * gumbel(seed, choice.index, token_id)
        for token_id, penalised in zip(ids, choice.candidates.penalised, strict=True)
    ]
    place = ids.index(recorded_id)
    found = []
    for end in range(place + 1, len(ids) + 1):
        edge = ends.distance_of(end, count) if end != count else None
        if edge is not None:
            behind = max(scores[:end]) - scores[place]
            found.append(Edge(edge.name, max(edge.logits, behind)))
    nearest = min(found, key=lambda edge: edge.logits, default=None)
    return nearest if nearest is not None and nearest.logits <= most else None


class _Ends:
    """How far the logits are from letting a number of candidates pass."""

    def __init__(self, choice: Token, sampling: Sampling) -> None:
        self._sampling = sampling
        self._penalised = choice.candidates.penalised
        self.temperature = sampling.temperature
        best = self._penalised[0]
        weights = [math.exp((value - best) / self.temperature) for value in self._penalised]
        top_k = sampling.top_k or len(weights) + sum(choice.candidates.tail_counts)
        weights = weights[:top_k]
        beyond = tail_weight(choice.candidates, self.temperature, top_k - len(weights))
        self._ahead = _shares(weights, sum(weights) + beyond)

    def distance_of(self, end: int, count: int) -> Edge | None:
        """What must change for `end` candidates to pass instead of `count`; None where that is not known."""
        if end > count:  # every filter must let the last one in
            far = max(self._edges(end - 1), key=lambda edge: edge.logits, default=None)
            return far and Edge(far.name, max(0.0, far.logits))
        near = max(self._edges(end), key=lambda edge: edge.logits, default=None)  # one is enough to cut it
        return near and Edge(near.name, max(0.0, -near.logits))

    def _edges(self, place: int) -> list[Edge]:
        """How far each filter is from letting the candidate in, if it is cut; negative: from cutting it."""
        found, sampling = [], self._sampling
        logit = self._penalised[place]
        if 0 < sampling.top_k < len(self._penalised):
            other = self._penalised[sampling.top_k - (place >= sampling.top_k)]
            found.append(Edge("top-k", other - logit))
        if sampling.top_p < 1 and place < len(self._ahead):
            share = _logit(self._ahead[place]) - _logit(sampling.top_p)
            found.append(Edge("top-p", self.temperature * share))
        if sampling.min_p > 0:
            least = self._penalised[0] + self.temperature * math.log(sampling.min_p)
            found.append(Edge("min-p", least - logit))
        return found


def _shares(weights: Sequence[float], total: float) -> list[float]:
    """For each candidate the probability of those ahead of it."""
    found, ahead = [], 0.0
    for weight in weights:
        found.append(ahead / total)
        ahead += weight
    return found


def _logit(share: float) -> float:
    """By as much the logits of those ahead must rise over the others' for their share to be another one."""
    if share <= 0:
        return -math.inf
    return math.log(share / (1 - share)) if share < 1 else math.inf
