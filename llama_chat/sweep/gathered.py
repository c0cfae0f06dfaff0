"""What came of a sweep: the reply of each column and its figures, gathered from the events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_chat.distribution.bars import Bars, bars_of
from llama_chat.distribution.chosen import probability_after, probability_before
from llama_chat.distribution.figures import distinct_n, perplexity, surprise_bits
from llama_chat.errors import LlamaChatError
from llama_chat.events import Event, Failed, Finished, Loading, Prefilled, Token
from llama_chat.sweep.asking import EVERY, InTurns, SweepEvent
from llama_chat.sweep.columns import SweepColumn


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one column; NaN where nothing was said yet."""

    before: float
    """Mean probability of the chosen tokens as the model has it."""
    after: float
    """And as they were drawn."""
    is_exact: bool
    """Whether all of the latter are."""
    surprise_bits: float
    """Mean, by the model's own distribution."""
    perplexity: float
    distinct_1: float
    distinct_2: float


@dataclass(slots=True)
class ColumnReply:
    """One column: its settings, what it says, how it ended."""

    column: SweepColumn
    tokens: list[Token] = field(default_factory=list)
    text: str = ""
    finished: Finished | None = None
    error: LlamaChatError | None = None
    _before: float = 0.0
    _after: float = 0.0
    _is_exact: bool = True

    def feed(self, event: Event | InTurns) -> None:
        """Take what happened to it."""
        if isinstance(event, Token):
            bars = self.bars_of(event)
            self.tokens.append(event)
            self.text += event.text
            self._before += probability_before(event)
            self._after += probability_after(event, bars)
            self._is_exact = self._is_exact and bars.is_exact
        elif isinstance(event, Finished):
            self.finished = event
            self.text += event.text
        elif isinstance(event, Failed):
            self.error = event.error

    @staticmethod
    def bars_of(token: Token) -> Bars:
        """The distribution that a token was drawn from."""
        return bars_of(token.candidates, token.sampling)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None or self.error is not None

    @property
    def figures(self) -> Figures:
        """Of what it has said so far."""
        count = len(self.tokens)
        ids = [token.token_id for token in self.tokens]
        logprobs = [token.logprob for token in self.tokens]
        return Figures(
            before=self._before / count if count else math.nan,
            after=self._after / count if count else math.nan,
            is_exact=self._is_exact,
            surprise_bits=surprise_bits(math.fsum(logprobs) / count) if count else math.nan,
            perplexity=perplexity(logprobs),
            distinct_1=distinct_n(ids, 1),
            distinct_2=distinct_n(ids, 2),
        )

    @property
    def state(self) -> str:
        """Why it ended, or how far it is, in a few words."""
        count = len(self.tokens)
        so_far = "1 token" if count == 1 else f"{count:,} tokens"
        if self.error is not None:
            return f"failed after {so_far}"
        if self.finished is None:
            return f"{so_far}…" if count else "waits…"
        how = {"end": "ended", "stopped": "stopped"}.get(self.finished.reason, "cut")
        return f"{how} after {so_far}"


@dataclass(slots=True)
class SweepReplies:
    """All columns of a sweep."""

    columns: list[ColumnReply]
    prefilled: Prefilled | None = None
    loading: float = 0.0
    """How much of the prompt is in the cache, 0 to 1."""
    at_once: int = 0
    """So many columns fit into memory at the same time; 0: all."""

    @classmethod
    def of(cls, columns: Sequence[SweepColumn]) -> SweepReplies:
        """Before anything has happened."""
        return cls([ColumnReply(column) for column in columns])

    def feed(self, event: SweepEvent) -> None:
        """Take what happened."""
        number, news = event
        if isinstance(news, InTurns):
            self.at_once = news.at_once
        elif isinstance(news, Loading):
            self.loading = news.fraction
        elif isinstance(news, Prefilled):
            self.prefilled, self.loading = news, 1.0
        elif number != EVERY:
            self.columns[number].feed(news)
        else:
            for column in self.columns:
                column.feed(news)

    @property
    def is_over(self) -> bool:
        """Whether every column has ended."""
        return all(column.is_over for column in self.columns)

    @property
    def error(self) -> LlamaChatError | None:
        """The first that a column failed with."""
        return next((column.error for column in self.columns if column.error is not None), None)

    @property
    def is_stopped(self) -> bool:
        """Whether a column was stopped by the user."""
        return any(column.finished and column.finished.reason == "stopped" for column in self.columns)
