"""How a reply was computed, position by position, so that it can be computed again to the last bit.

A position's keys and values depend on where its forward started and how many rows that had, not on which of
them were kept: that pair is its shape. A step is a forward of one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from llama_chat.events import ComputePlan, Forward

LONGEST_FORWARD = 256
"""Rows of one forward; between two of them a cancel is seen."""

MOST_DROPPED_CONTEXTS = 8
"""Rows, in lengths of the context, that are computed for nothing; edits and other replies leave far fewer."""

Shape: TypeAlias = tuple[int, int]
"""Start and rows of the forward that computes a position."""


def usable_forwards(plan: Sequence[Forward], *, length: int, context_length: int) -> list[Forward]:
    """The beginning of the plan that can be followed for `length` ids; a plan may come out of any file.

    It ends where something is wrong: a gap, an overlap, a number that is none or too large; and where most of
    the work would be for rows that are not kept.
    """
    found: list[Forward] = []
    at, dropped_rows = 0, 0
    for forward in plan:
        if at >= length or not _is_possible(forward, at, context_length):
            break
        dropped_rows += max(0, forward.rows - forward.kept)
        if dropped_rows > MOST_DROPPED_CONTEXTS * context_length:
            break
        found.append(replace(forward, kept=min(forward.kept, length - at)))
        at += found[-1].kept
    return found


def _is_possible(forward: Forward, at: int, context_length: int) -> bool:
    numbers = (forward.start, forward.rows, forward.kept)
    if forward.start != at or not all(type(number) is int and number >= 0 for number in numbers):
        return False
    if forward.kind == "step":
        return forward.rows == 1 <= forward.kept
    is_whole = 1 <= forward.kept <= forward.rows <= LONGEST_FORWARD
    return forward.kind == "prefill" and is_whole and at + forward.rows <= context_length


def shapes_of(forwards: Sequence[Forward]) -> Iterator[Shape]:
    """The shape of each position that they fill."""
    for forward in forwards:
        for at in range(forward.start, forward.start + forward.kept):
            yield (forward.start, forward.rows) if forward.rows > 1 else (at, 1)


def length_of(forwards: Sequence[Forward]) -> int:
    """Positions that they fill."""
    return sum(forward.kept for forward in forwards)


def cut(plan: ComputePlan, length: int) -> ComputePlan:
    """The plan of the first `length` positions, as it was; who goes on from there ends it."""
    kept = (
        replace(forward, kept=min(forward.kept, length - forward.start))
        for forward in plan.forwards
        if forward.start < length
    )
    return replace(plan, forwards=tuple(kept), ended_by="sampler")


def with_steps(plan: ComputePlan, length: int) -> ComputePlan:
    """The plan gone on by steps until it fills so many positions; as it is, where it does already."""
    at = length_of(plan.forwards)
    if at >= length:
        return plan
    *before, last = plan.forwards or (Forward(0, 1, 0, "step"),)
    if last.kind == "step":
        return replace(plan, forwards=(*before, replace(last, kept=last.kept + length - at)))
    return replace(plan, forwards=(*plan.forwards, Forward(at, 1, length - at, "step")))
