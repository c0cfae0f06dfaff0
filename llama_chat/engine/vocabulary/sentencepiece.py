"""SentencePiece vocabularies of byte-pair kind (Llama 2, TinyLlama): tokens with scores instead of merges.

SentencePiece joins the two neighbours whose whole has the highest score, the leftmost of equals. Merges in
the order of the scores do the same: with Llama 2's vocabulary they gave SentencePiece's own ids for 40,786
of 40,786 strings, runs of one character among them (2026-11-22).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.engine.vocabulary.library import LibraryEncoder, Merges, Steps
from llama_chat.errors import ModelError

SPACE = "▁"
"""Stands for a space in tokens."""

# Llama 2's longest token has 16 characters, its whole vocabulary 190,000. Every way to part a token is
# looked up, so that these bound the work.
MAX_TOKEN_CHARS = 256
MAX_VOCABULARY_CHARS = 1 << 23

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def spaced_bytes(
    texts: Sequence[str], special: frozenset[int], byte_ids: frozenset[int], space: str = SPACE
) -> list[bytes]:
    """The bytes of every token: `▁` is a space, `<0x0A>` its byte; control tokens are as they stand."""
    pieces = [text.replace(space, " ").encode() for text in texts]
    for i in special:
        pieces[i] = texts[i].encode()
    for i in byte_ids:
        match = _BYTE_TOKEN.fullmatch(texts[i])
        if match:
            pieces[i] = bytes.fromhex(match[1])
    return pieces


def byte_token_ids(texts: Iterable[str]) -> frozenset[int]:
    """The ids of the tokens that stand for single bytes, by their spelling."""
    return frozenset(i for i, text in enumerate(texts) if _BYTE_TOKEN.fullmatch(text))


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """What SentencePiece knows of a vocabulary."""

    texts: Sequence[str]
    scores: Sequence[float]
    """By id; the higher, the earlier it is joined."""
    normal_ids: frozenset[int]
    byte_ids: frozenset[int]


def sentencepiece_encoder(tokens: ScoredTokens, *, has_prefix: bool, where: str) -> LibraryEncoder:
    """The encoder of such a vocabulary.

    Args:
        tokens: all of them.
        has_prefix: whether text that begins a text gets a space in front.
        where: the file, for errors.

    Raises:
        ModelError: scores are missing or no numbers, or a token is too long to be one.
    """
    _check(tokens, where)
    normal = {tokens.texts[i]: i for i in sorted(tokens.normal_ids, reverse=True)}  # of equals, the first
    vocab = normal | {tokens.texts[i]: i for i in tokens.byte_ids}
    merges = Merges(vocab, derived_merges(normal, tokens.scores), byte_fallback=True)
    inside = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    opening = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, inside]}
    return LibraryEncoder(merges, Steps(opening if has_prefix else inside), Steps(inside), where)


def _check(tokens: ScoredTokens, where: str) -> None:
    if len(tokens.scores) != len(tokens.texts):
        raise ModelError(f"{where}: {len(tokens.texts)} tokens but {len(tokens.scores)} scores", hint=DAMAGED)
    if not all(isinstance(score, (int, float)) and isfinite(score) for score in tokens.scores):
        raise ModelError(f"{where}: the scores of the tokens are no numbers", hint=DAMAGED)
    lengths = [len(tokens.texts[i]) for i in tokens.normal_ids]
    if max(lengths, default=0) > MAX_TOKEN_CHARS or sum(lengths) > MAX_VOCABULARY_CHARS:
        raise ModelError(
            f"{where}: a token has {max(lengths):,} characters, all together {sum(lengths):,}; at most "
            f"{MAX_TOKEN_CHARS} and {MAX_VOCABULARY_CHARS:,} can be read",
            hint=DAMAGED,
        )


def derived_merges(normal: dict[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Every way to join two tokens to a third, the highest score of the whole first.

    Args:
        normal: the tokens that text is made of, with their ids.
        scores: by id.
    """

    def order(pair: tuple[str, str]) -> tuple[float, int, int, int]:
        left, right = pair
        whole_id = normal[left + right]
        return -scores[whole_id], whole_id, normal[left], normal[right]

    return sorted(_ways(normal), key=order)


def _ways(normal: dict[str, int]) -> Iterator[tuple[str, str]]:
    for whole in normal:
        for cut in range(1, len(whole)):
            left, right = whole[:cut], whole[cut:]
            if left in normal and right in normal:
                yield left, right
