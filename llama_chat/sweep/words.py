"""The figures of a sweep as they are read: a label, a value, and what each of them means."""

from __future__ import annotations

import math

from llama_chat.distribution.told import percent
from llama_chat.sweep.gathered import Figures

LEGEND = (
    ("mean p", "the probability of its tokens, as the model has it → as they were drawn"),
    ("distinct", "different tokens / pairs of them, as a share of all"),
    ("surprise", "of the model: 1 bit is one of two"),
    ("perplexity", "it chose as if among so many"),
)
"""Each label, and what it means."""


def figure_rows(figures: Figures) -> list[tuple[str, str]]:
    """Labels and values, short: 22 cells hold both; none before anything is said."""
    if math.isnan(figures.before):
        return [(label, "–") for label, _ in LEGEND]
    before, after = (_close(percent(part)) for part in (figures.before, figures.after))
    about = "" if figures.is_exact or after.startswith(("<", ">")) else "≈"
    values = (
        f"{before.removesuffix(' %')} → {about}{after}",
        f"{share(figures.distinct_1)} / {share(figures.distinct_2)}",
        f"{figures.surprise_bits:.2f} bits",
        perplexity_text(figures.perplexity),
    )
    return [(label, value) for (label, _), value in zip(LEGEND, values, strict=True)]


def _close(shown: str) -> str:
    """`<0.01 %`, `>99.9 %`: 22 cells hold two of them."""
    return shown.replace("< ", "<").replace("> ", ">")


def perplexity_text(value: float) -> str:
    """Three figures that tell: `1.02`, `12.3`, `4,721`."""
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f}"


def share(value: float) -> str:
    """`0.92`; `–` where there is none."""
    return "–" if math.isnan(value) else f"{value:.2f}"
