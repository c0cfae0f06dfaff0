"""What the settings made of a token that was chosen, be it among the candidates or far behind them."""

from __future__ import annotations

import math

from llama_chat.distribution.bars import Bars
from llama_chat.events import Token


def probability_before(token: Token) -> float:
    """As the model has it: at temperature 1, after the repetition penalty, nothing cut; NaN: not known."""
    return math.exp(min(token.logprob, 0.0))  # the other way round NaN would be a certainty


def probability_after(token: Token, bars: Bars) -> float:
    """What the token was drawn with; as exact as `bars`, which were made of its candidates and sampling.

    A token of the user's that the settings cut has none: 0.
    """
    if (bar := bars.of(token.token_id)) is not None:
        return bar.after
    if not bars.bars or token.sampling.is_greedy or not math.isfinite(token.logprob):
        return 0.0
    if token.rank > bars.left:
        return 0.0
    below = token.candidates.penalised[0] - (token.logprob + token.candidates.logsumexp)
    return bars.bars[0].after * math.exp(-max(0.0, below) / token.sampling.temperature)
