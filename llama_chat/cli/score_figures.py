"""A scored text as numbers: every token, perplexity, bits a token and a byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_chat.distribution.figures import bits_per_byte, perplexity, surprise_bits
from llama_chat.distribution.names import TokenNames
from llama_chat.events import ModelInfo, Token

FIRST_CHOICES = 5
"""Of what the model would have said instead, in JSON."""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """What is shown of one: a text of 30,000 tokens would take 100 MB with all of their candidates."""

    logprob: float
    """NaN where nothing stands before it."""
    rank: int
    likeliest: tuple[tuple[int, float], ...]
    """Ids and probabilities of what the model held for likeliest here."""

    @staticmethod
    def of(token: Token) -> ScoredToken:
        """Of a token that was scored."""
        found = token.candidates
        first = [
            (found.token_ids[n], math.exp(found.penalised[n] - found.logsumexp))
            for n in range(min(FIRST_CHOICES, len(found)))
        ]
        return ScoredToken(token.logprob, token.rank, tuple(first))

    @property
    def is_scored(self) -> bool:
        """Whether anything stood before it."""
        return not math.isnan(self.logprob)


NOT_SCORED = ScoredToken(math.nan, 0, ())


@dataclass(frozen=True, slots=True)
class ScoreFigures:
    """The text that is scored, and what its scores come to."""

    ids: Sequence[int]
    info: ModelInfo
    names: TokenNames

    def nbytes(self, scored: Sequence[ScoredToken]) -> int:
        """Of those tokens that have a score."""
        pairs = zip(self.ids, scored, strict=False)
        return sum(len(self.names.piece(token_id) or b"") for token_id, token in pairs if token.is_scored)

    def summary(self, scored: Sequence[ScoredToken]) -> dict[str, float]:
        """Perplexity, mean surprise and bits per byte; NaN where nothing has a score."""
        logprobs = [token.logprob for token in scored if token.is_scored]
        mean = math.fsum(logprobs) / len(logprobs) if logprobs else math.nan
        return {
            "perplexity": perplexity(logprobs),
            "mean_surprise_bits": surprise_bits(mean),
            "bits_per_byte": bits_per_byte(logprobs, self.nbytes(scored)),
        }

    def as_data(self, scored: Sequence[ScoredToken], *, is_complete: bool) -> dict[str, Any]:
        """All of it for JSON; null for what is not known."""
        info = self.info
        figures = {name: _finite(value) for name, value in self.summary(scored).items()}
        return {
            "model": info.name,
            "engine": info.engine,
            "dtype": info.dtype,
            "vocabulary_size": info.vocab_size,
            "context_length": info.context_length,
            "is_complete": is_complete,
            "count": len(self.ids),
            "scored": sum(token.is_scored for token in scored),
            **figures,
            "tokens": [self._token_data(place, token) for place, token in enumerate(scored)],
        }

    def _token_data(self, place: int, token: ScoredToken) -> dict[str, Any]:
        token_id = self.ids[place]
        piece = self.names.piece(token_id) or b""
        return {
            "id": token_id,
            "bytes": piece.hex(),
            "text": self._text(token_id),
            "is_control": token_id in self.names.special_ids,
            "logprob": _finite(token.logprob),
            "probability": _finite(math.exp(token.logprob)),
            "rank": token.rank or None,
            "surprise_bits": _finite(surprise_bits(token.logprob)),
            "likeliest": [
                {"id": n, "text": self._text(n), "probability": share} for n, share in token.likeliest
            ],
        }

    def _text(self, token_id: int) -> str:
        return (self.names.piece(token_id) or b"").decode("utf-8", "replace")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
