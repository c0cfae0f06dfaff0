"""A message's tokens as they are looked at: their names, their shades, the ways from one to another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from llama_chat.candidates import Candidates
from llama_chat.conversation import Message
from llama_chat.distribution.bars import Bars, bars_of
from llama_chat.distribution.chosen import probability_before
from llama_chat.distribution.figures import perplexity, surprise_bits
from llama_chat.distribution.names import TokenNames, visible_piece
from llama_chat.distribution.shades import Shade, level
from llama_chat.events import Token
from llama_chat.sampling import Sampling
from llama_chat.sanitize import sanitize

CUT_CHARACTER = "·"
"""Stands for a token that is a part of a character; the last part shows the character."""
LINE_END = "↵"


@dataclass(frozen=True, eq=False)
class TokenSheet:
    """What is known of a message's tokens; another one is made when more of them are there."""

    message: Message
    tokens: Sequence[Token] = ()
    names: TokenNames = field(default_factory=TokenNames)
    end_ids: frozenset[int] = frozenset()
    """Tokens that end a reply, as far as that is known."""
    is_running: bool = False
    """Whether more tokens are on their way."""
    judged_by: str = ""
    """The model that was asked what it holds of a text that it did not write; empty: it is the writer's."""
    _levels: dict[tuple[Shade, int], int | None] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def with_more(
        self, message: Message, tokens: Sequence[Token], names: TokenNames, *, is_running: bool
    ) -> TokenSheet:
        """The same with more tokens behind those that are here."""
        return replace(self, message=message, tokens=tokens, names=names, is_running=is_running)

    @property
    def is_opinion(self) -> bool:
        """Whether nothing was drawn here: a model was asked what it holds of a text."""
        return bool(self.judged_by)

    # --- what is shown ------------------------------------------------------------------------------

    def shown(self, place: int) -> str:
        """The token as it stands in the text, in one safe line: every token is seen, a blank one too."""
        return shown_token(self.tokens[place])

    def level(self, place: int, shade: Shade) -> int | None:
        """How strongly the token is shaded, 0 to 31; None where that is not known."""
        key = (shade, place)
        if key not in self._levels:
            self._levels[key] = level(self.tokens[place], shade)
        return self._levels[key]

    def bars(self, place: int, sampling: Sampling | None = None) -> Bars:
        """The candidates of a token as bars, under these settings or under those that it was drawn with."""
        token = self.tokens[place]
        return bars_of(token.candidates, token.sampling if sampling is None else sampling)

    def vocab_size(self, candidates: Candidates) -> int:
        """Tokens that there were to choose from; 0 where that is not known."""
        return (len(candidates) + sum(candidates.tail_counts)) if len(candidates) else 0

    def ends_the_reply(self, token_id: int) -> bool:
        """Whether a reply is over with this token."""
        return token_id in self.end_ids

    # --- from one to another --------------------------------------------------------------------------

    @cached_property
    def by_surprise(self) -> tuple[int, ...]:
        """The places of the tokens, the least likely first."""
        known = (place for place, token in enumerate(self.tokens) if not math.isnan(token.logprob))
        return tuple(sorted(known, key=lambda place: self.tokens[place].logprob))

    def word_from(self, place: int, step: int) -> int:
        """Where the next word begins, or the one before."""
        last = len(self.tokens) - 1
        place += step
        while 0 < place < last and not self._begins_word(place):
            place += step
        return max(0, min(last, place))

    def _begins_word(self, place: int) -> bool:
        text, before = self.tokens[place].text, self.tokens[place - 1].text
        return bool(text.strip()) and (text[0].isspace() or before[-1:].isspace())

    # --- figures of all of them -----------------------------------------------------------------------

    @cached_property
    def logprobs(self) -> list[float]:
        """Of the tokens whose probability is known."""
        return [token.logprob for token in self.tokens if not math.isnan(token.logprob)]

    @cached_property
    def perplexity(self) -> float:
        """Among so many equally likely tokens the model chose, on average; NaN where nothing is known."""
        return perplexity(self.logprobs)

    @cached_property
    def mean_surprise_bits(self) -> float:
        """The mean of the tokens' surprise; NaN where nothing is known."""
        return surprise_bits(math.fsum(self.logprobs) / len(self.logprobs)) if self.logprobs else math.nan

    @cached_property
    def probabilities(self) -> list[float]:
        """Of every token in order, NaN where it is not known."""
        return [probability_before(token) for token in self.tokens]

    @cached_property
    def speeds(self) -> list[float]:
        """Tokens a second at every token, NaN at one that took no step of its own: the first, the user's."""
        return [
            1 / self._share_s(token)
            if token.seconds > 0 and token.index and token.chosen_by == "sampler"
            else math.nan
            for token in self.tokens
        ]

    def _share_s(self, token: Token) -> float:
        """What it took, or its share of what it took together with others."""
        seconds, count = self.together.get(token.index, (token.seconds, 1))
        return seconds / count

    @cached_property
    def together(self) -> dict[int, tuple[float, int]]:
        """Of the tokens that one forward gave along with others, by index: its seconds, and how many it gave.

        The first of them took nearly all of the time, which says nothing of any one token.
        """
        reply = self.message.reply
        seconds = {token.index: token.seconds for token in self.tokens}
        found: dict[int, tuple[float, int]] = {}
        for forward in reply.drafted_forwards if reply is not None and not self.is_opinion else ():
            first = forward.start - reply.prompt_tokens + 1 if reply is not None else 0
            given = [index for index in range(first, first + forward.kept) if index in seconds]
            if len(given) > 1:
                found.update(dict.fromkeys(given, (sum(map(seconds.__getitem__, given)), len(given))))
        return found

    @cached_property
    def usual_speed(self) -> float:
        """The median of the speeds; 0 where none is known."""
        known = sorted(speed for speed in self.speeds if not math.isnan(speed))
        return known[len(known) // 2] if known else 0.0


def shown_token(token: Token) -> str:
    """The text that became readable by the token, in one safe line; a sign where it did not."""
    if not token.text:
        return CUT_CHARACTER if _is_cut(token.piece) else visible_piece(token.piece) or CUT_CHARACTER
    if token.text.isascii() and token.text.isprintable():
        return token.text
    text = sanitize(token.text).replace("\r", LINE_END).replace("\n", LINE_END).replace("\t", "    ")
    return "".join(char if char.isprintable() else " " for char in text) or CUT_CHARACTER


def _is_cut(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return True
    return False
