"""The seed of the replies: locked to a number, or a fresh one for each; what is typed and said of it."""

from __future__ import annotations

from llama_chat.errors import UsageError
from llama_chat.setting_values import parsed_value
from llama_chat.settings import setting_fields

FRESH, LOCK = "fresh", "lock"
FRESH_SEED = -1
SEED_WORDS = f"[N|{FRESH}|{LOCK}]"


def parse_seed(words: str, *, last: int | None) -> int:
    """The seed that is asked for; -1 for fresh ones.

    Args:
        words: a number, `fresh`, or `lock` for the seed of the last reply.
        last: that seed.

    Raises:
        UsageError: it is none of these, or there is no reply yet.
    """
    word = words.strip().casefold()
    if word == FRESH:
        return FRESH_SEED
    if word == LOCK:
        return locked_seed(last)
    try:
        seed: int = parsed_value(setting_fields()["seed"].field, word.replace(",", ""))
    except ValueError as error:
        raise UsageError(f"seed: {words!r} {error}.", hint=f"For example: /seed 7, /seed {FRESH}") from error
    return seed


def locked_seed(last: int | None) -> int:
    """The seed of the last reply.

    Raises:
        UsageError: there is none yet.
    """
    if last is None:
        raise UsageError(
            "There is no reply yet whose seed could be locked.", hint="/seed 7 locks to a number."
        )
    return last


def toggled_seed(seed: int, *, last: int | None) -> int:
    """Fresh seeds, where one is locked; else the seed of the last reply, locked.

    Raises:
        UsageError: there is none yet.
    """
    return FRESH_SEED if seed >= 0 else locked_seed(last)


def seed_sentence(seed: int) -> str:
    """What counts from the next reply on."""
    if seed < 0:
        return "Every reply has a fresh seed, from the next one on."
    return f"The seed is locked: {seed} for every reply, from the next one on. /seed {FRESH} unlocks it."
