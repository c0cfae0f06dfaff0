"""How a reply was computed, position by position, so that it can be computed again to the last bit.

A position's keys and values depend on where its forward started and how many rows that had, not on which of
them were kept: that pair is its shape. A step is a forward of one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from llama_chat.events import ComputePlan, Forward

LONGEST_FORWARD = 256
"""Rows of one forward; between two of them a cancel is seen."""

MOST_DROPPED_CONTEXTS = 8
"""Rows, in lengths of the context, that are computed for nothing; edits and other replies leave far fewer."""

MOST_VERIFIED_ROWS = 8
"""Of a forward that verifies drafted tokens: the last token and they.

Not more than `MOST_DROPPED_CONTEXTS`, so that a plan in which every other row is for nothing can be followed.
"""

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


def with_steps(
    plan: ComputePlan, length: int, shapes: Mapping[int, Shape] = MappingProxyType({})
) -> ComputePlan:
    """The plan gone on until it fills so many positions; as it is, where it does already.

    Args:
        plan: where it begins.
        length: positions to be filled.
        shapes: of the positions that a forward of several rows filled, rising (`Token.forward`); all others
            were steps. Where one cannot be, as in a damaged file, it is taken for a step, too.
    """
    at = length_of(plan.forwards)
    if at >= length:
        return plan
    forwards = list(plan.forwards)
    for position, shape in shapes.items():
        if at <= position < length:
            _add_steps(forwards, at, position - at)
            _add_row(forwards, position, shape)
            at = position + 1
    _add_steps(forwards, at, length - at)
    return replace(plan, forwards=tuple(forwards))


def _add_steps(forwards: list[Forward], at: int, count: int) -> None:
    if not count:
        return
    last = forwards[-1] if forwards else None
    if last is not None and last.kind == "step":
        forwards[-1] = replace(last, kept=last.kept + count)
    else:
        forwards.append(Forward(at, 1, count, "step"))


def _add_row(forwards: list[Forward], at: int, shape: Shape) -> None:
    """One more position of the last forward, or the first one of another."""
    last = forwards[-1] if forwards else None
    if last is not None and (last.start, last.rows) == shape and last.kept < last.rows:
        forwards[-1] = replace(last, kept=last.kept + 1)
    elif shape[0] == at and shape[1] > 1:
        forwards.append(Forward(at, shape[1], 1, "prefill"))
    else:
        _add_steps(forwards, at, 1)


def drafted_forwards(forwards: Sequence[Forward], prompt_tokens: int) -> list[Forward]:
    """Those of a reply that verified drafted tokens: `rows - 1` of them, of which `kept - 1` were chosen.

    Behind the prompt several rows come from drafting, or are what the user gave the reply to go on with:
    that is kept whole, and its last token follows in a prefill of its own.
    """
    found: list[Forward] = []
    following: Forward | None = None
    for forward in reversed(forwards):
        if forward.start < prompt_tokens:
            break
        is_given = (
            forward.kept == forward.rows
            and following is not None
            and (following.kind, following.rows) == ("prefill", 1)
        )
        if forward.kind == "prefill" and 1 < forward.rows <= MOST_VERIFIED_ROWS and not is_given:
            found.append(forward)
        following = forward
    return found[::-1]
