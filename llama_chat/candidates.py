"""What a token was chosen from: the likeliest candidates, and a histogram of the rest of the vocabulary."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

CANDIDATE_COUNT = 64
TAIL_BINS_PER_LOGIT = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """One token that could have been next."""

    token_id: int
    logit: float
    """As the model gave it."""
    penalised: float
    """After the repetition penalty; equal to `logit` when there is none."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The likeliest tokens by penalised logit, the best first, and what the rest of the vocabulary holds.

    The tail counts every token that is not among `token_ids`, in bins of 1/8 logit below the best: bin b
    holds those with `best - penalised` in [b/8, (b+1)/8); the last bin also holds whatever is lower.
    From these alone any temperature, top-k, top-p or min-p can be worked out again.
    """

    token_ids: array[int]
    """`i` (32 bit), at most 64."""
    logits: array[float]
    """`f` (32 bit), raw."""
    penalised: array[float]
    """`f`, falling."""
    tail_counts: array[int]
    """`i`, tokens per bin."""
    tail_logsumexp: array[float]
    """`f`, log of the sum of exp(penalised logit) per bin; -inf for an empty bin."""
    logsumexp: float
    """Of the penalised logits over the whole vocabulary."""

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, i: int) -> Candidate:
        return Candidate(self.token_ids[i], self.logits[i], self.penalised[i])

    def __iter__(self) -> Iterator[Candidate]:
        return (self[i] for i in range(len(self)))
