"""How far two sets of logits are apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llama_chat.engine.verify.probe import Said

_ROWS_AT_ONCE = 16  # a vocabulary of 128,256 in f64 takes 1 MB a row


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the logits at some place."""

    place: str
    """`text`, or a position."""
    rows: int
    max_abs: float
    """In logits, as is the next one."""
    mean_abs: float
    max_relative: float
    """The largest difference in a row over the largest logit in it."""
    mean_kl: float
    """KL(reference ‖ other), nats a row."""
    top1_share: float
    """The part of the rows, 0 to 1, in which both have the same likeliest token."""


@dataclass(frozen=True, slots=True)
class Greedy:
    """How long two greedy continuations are the same."""

    equal: int
    count: int
    margin: float | None
    """How far the reference's choice was ahead of its next best where they part; None where they do not."""


def difference(place: str, other_TV: Tensor, reference_TV: Tensor) -> Difference:
    """Of two sets of logits, NaN where they hold values that are no numbers."""
    rows, vocabulary = reference_TV.shape
    max_abs = max_relative = sum_abs = sum_kl = 0.0
    same = 0
    for at in range(0, rows, _ROWS_AT_ONCE):
        other = other_TV[at : at + _ROWS_AT_ONCE].double()
        reference = reference_TV[at : at + _ROWS_AT_ONCE].double()
        apart = (other - reference).abs()
        largest = apart.amax(-1)
        p, q = reference.log_softmax(-1), other.log_softmax(-1)
        max_abs = _larger(max_abs, float(largest.max()))
        max_relative = _larger(max_relative, float((largest / reference.abs().amax(-1)).max()))
        sum_abs += float(apart.sum())
        sum_kl += float((p.exp() * (p - q)).sum())
        same += int((other.argmax(-1) == reference.argmax(-1)).sum())
    return Difference(
        place,
        rows,
        max_abs,
        sum_abs / (rows * vocabulary),
        max_relative,
        max(0.0, sum_kl / rows) if sum_kl == sum_kl else sum_kl,
        same / rows,
    )


def _larger(a: float, b: float) -> float:
    """The larger one; NaN wins, which `max` leaves to the order."""
    return float(torch.tensor([a, b], dtype=torch.float64).max())


def differences(other: Said, reference: Said) -> tuple[Difference, ...]:
    """Over the text, then at each position that both have."""
    found = [difference("text", other.text, reference.text)]
    for position, rows in reference.at.items():
        if position in other.at:
            found.append(difference(f"{position:,}", other.at[position], rows))
    return tuple(found)


def greedy(other: Said, reference: Said) -> Greedy:
    """How long they go on alike."""
    pairs = zip(other.greedy_ids, reference.greedy_ids, strict=True)
    parted = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    count = len(reference.greedy_ids)
    if parted is None:
        return Greedy(count, count, None)
    return Greedy(parted, count, reference.greedy_margins[parted])
