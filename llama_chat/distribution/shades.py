"""How strongly a token is shaded: by its probability, its surprise, or how open the choice was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llama_chat.distribution.figures import entropy, surprise_bits
from llama_chat.events import Token

Shade: TypeAlias = Literal["probability", "surprise", "entropy"]

LEVELS = 32
"""Shades from the palest, 0, to the strongest: more are not told apart, and each is one style."""
MOST_BITS = 10.0
"""Of surprise or entropy; what is beyond is shaded alike."""


@dataclass(frozen=True, slots=True)
class Legend:
    """What the ends of the scale mean."""

    palest: str
    strongest: str
    explained: str


LEGENDS: dict[Shade, Legend] = {
    "probability": Legend("0 %", "100 %", "how likely the model held this token to be"),
    "surprise": Legend(
        "0 bits", "10 bits or more", "how much it surprised: 1 bit is one of two, 10 bits one of 1,024"
    ),
    "entropy": Legend("0 bits", "10 bits or more", "how open the choice was, whatever was chosen then"),
}


def level(token: Token, shade: Shade) -> int | None:
    """From 0 to `LEVELS` - 1; None where it is not known."""
    share = _share(token, shade)
    return None if math.isnan(share) else round(min(max(share, 0.0), 1.0) * (LEVELS - 1))


def _share(token: Token, shade: Shade) -> float:
    if shade == "entropy":
        return entropy(token.candidates).bits / MOST_BITS
    if shade == "surprise":
        return surprise_bits(token.logprob) / MOST_BITS
    return math.exp(min(token.logprob, 0.0))  # NaN stays NaN only as the first
