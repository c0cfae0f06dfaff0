"""What a rerun finds, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llama_chat.rerun.changes import Change

Verdict: TypeAlias = Literal["identical", "near tie", "diverged"]
_FROM_BEST: tuple[Verdict, ...] = ("identical", "near tie", "diverged")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over several; identical where there is none."""
    return max(verdicts, key=_FROM_BEST.index, default="identical")


@dataclass(frozen=True, slots=True)
class Pick:
    """What one of the two runs chose at a place, and what each of them gave for it."""

    token_id: int | None
    """None for an end whose token is not known."""
    text: str
    """Of the token alone; empty where it is not known."""
    is_end: bool
    recorded_probability: float | None
    """At temperature 1, after the penalty, nothing cut; None where the record does not tell."""
    rerun_probability: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the rerun chose otherwise."""

    index: int
    """Of the token in the reply."""
    verdict: Verdict
    margin: float | None
    """How far the rerun's choice was ahead of the recorded one, in logits; None where that is not known."""
    is_margin_exact: bool
    """False: the recorded token was not among the rerun's candidates, its logit is out of the record."""
    reason: str
    """What there is to say of it beyond the margin: why it is no near tie, at which filter's edge it lies."""
    recorded: Pick
    rerun: Pick
    before: str
    """The text up to here, the end of it."""
    recorded_text: str
    """How the record goes on, with the token."""
    rerun_text: str
    """How the rerun went on, with the token, as far as it was let."""


@dataclass(frozen=True, slots=True)
class ReplyVerdict:
    """One reply, judged."""

    number: int
    """From 1, in the order in which the replies were written."""
    message_id: str
    model: str
    verdict: Verdict
    tokens: int
    """Of the reply."""
    judged: int
    """Choices that were compared: the sampler's tokens, and the end where the model chose it."""
    by_user: int
    """Tokens that the user chose: fed, not judged."""
    differences: tuple[Difference, ...]
    reason: str
    """Why it could not be compared, or not to its end; empty where it was."""
    largest_logprob_difference: float | None
    """Of the recorded tokens between the two runs; None where there was nothing to compare."""
    changes: tuple[Change, ...]
    """What was otherwise than when it was recorded."""
    setting: str
    """What computed it now, in one line."""
    is_whole: bool = True
    """False: the user stopped it."""
