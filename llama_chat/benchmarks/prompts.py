"""Ids to measure with, the same for every program that is compared."""

from __future__ import annotations

from collections.abc import Collection

_FIRST, _RANGE = 100, 40_000


def prompt_ids(count: int, vocab_size: int, special_ids: Collection[int] = ()) -> list[int]:
    """A fixed sequence of ordinary token ids, the same at every call.

    From a linear congruential generator (the constants of C's `rand` in the POSIX example), so that other
    programs can be given the same ids. A vocabulary that is smaller takes the remainder.

    Args:
        count: how many.
        vocab_size: of the model.
        special_ids: control tokens; where the remainder hits one, the next ordinary id takes its place.
    """
    state, ids = 12345, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2**31
        ids.append((_FIRST + state % _RANGE) % vocab_size)
    ordinary = set(range(vocab_size)).difference(special_ids) if special_ids else set()
    return [_next_ordinary(token_id, vocab_size, ordinary) for token_id in ids] if ordinary else ids


def _next_ordinary(token_id: int, vocab_size: int, ordinary: Collection[int]) -> int:
    while token_id not in ordinary:
        token_id = (token_id + 1) % vocab_size
    return token_id
