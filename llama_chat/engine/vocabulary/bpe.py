"""Byte-pair encoding of ordinary text, by tiktoken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import eq

import regex
import tiktoken

from llama_chat.engine.vocabulary.vocabulary import Vocabulary

# tiktoken's regex engine overflows its stack on longer runs of one kind (Meta's figures, for Llama 3).
MAX_ENCODE_CHARS = 400_000
MAX_RUN_CHARS = 25_000

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How text is cut before the merges: a pattern, and whether digits are cut out one by one first."""

    pattern: str
    single_digits: bool = False


# `tokenizer.ggml.pre`. SmolLM cuts digits FIRST and applies the GPT-2 pattern to what is between: two
# stages, since one merged pattern gives other ids for "abc  1". They gave llama.cpp's ids for 40,242 of
# 40,242 random strings and for all of tests/data/tokenizer_corpus.json (2026-11-22).
PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "smollm": PreTokenizer(GPT2_PATTERN, single_digits=True),
    "gpt-2": PreTokenizer(GPT2_PATTERN),
    "llama-bpe": PreTokenizer(LLAMA3_PATTERN),
    "llama3": PreTokenizer(LLAMA3_PATTERN),
    "llama-v3": PreTokenizer(LLAMA3_PATTERN),
}


class BytePairEncoder:
    """Ordinary text to ids, by merges of bytes.

    Args:
        vocabulary: says which id a merged piece has.
        ranks: merge order: bytes to rank, the single bytes first.
        pre: how text is cut before the merges.
    """

    def __init__(self, vocabulary: Vocabulary, ranks: Mapping[bytes, int], pre: PreTokenizer) -> None:
        pieces, special = vocabulary.pieces, frozenset(vocabulary.special_ids.values())
        # A vocabulary may lack single bytes (the default model's has no token for \x04). tiktoken wants
        # all 256, so those get ranks of their own and their ids are left out, as llama.cpp does.
        missing = [bytes([byte]) for byte in range(256) if bytes([byte]) not in ranks]
        free = {piece: len(pieces) + n for n, piece in enumerate(missing)}
        self._ids_end = len(pieces)
        # Mostly the ranks are the ids themselves; to see that takes a tenth of a table's 20 ms.
        self._id_of_rank: Mapping[int, int] = {}
        if not _are_ids(ranks, pieces) or not special.isdisjoint(ranks.values()):
            id_of = {piece: i for i, piece in enumerate(pieces) if i not in special}
            self._id_of_rank = {rank: id_of[piece] for piece, rank in ranks.items()}
        self._has_missing = bool(missing)
        self._bpe = tiktoken.Encoding(
            "llama-chat", pat_str=pre.pattern, mergeable_ranks={**ranks, **free}, special_tokens={}
        )
        self._digit = regex.compile(r"\p{N}") if pre.single_digits else None

    def encode(self, text: str, *, is_first: bool = False) -> list[int]:  # noqa: ARG002  (as Encoder has it)
        """The ids of ordinary text."""
        found: list[int] = []
        for part in self._stages(text):
            found += self._bpe.encode_ordinary(part)
        if id_of_rank := self._id_of_rank:
            return [id_of_rank[rank] for rank in found if rank in id_of_rank]
        return [rank for rank in found if rank < self._ids_end] if self._has_missing else found

    def _stages(self, text: str) -> Iterator[str]:
        for part in split_runs(text):
            if self._digit is None:
                yield part
                continue
            last = 0
            for match in self._digit.finditer(part):
                if match.start() > last:
                    yield part[last : match.start()]
                yield match.group()
                last = match.end()
            if last < len(part):
                yield part[last:]


def _are_ids(ranks: Mapping[bytes, int], pieces: Sequence[bytes]) -> bool:
    """Whether each piece's rank is its place among the pieces."""
    if not ranks or max(ranks.values()) >= len(pieces):
        return False
    return all(map(eq, map(pieces.__getitem__, ranks.values()), ranks))


def split_runs(text: str) -> Iterator[str]:
    """The text in parts that tiktoken bears: none too long, no endless run of spaces or of non-spaces."""
    for start in range(0, len(text), MAX_ENCODE_CHARS):
        part = text[start : start + MAX_ENCODE_CHARS]
        run_start = 0
        for match in regex.finditer(r"\s+|\S+", part) if len(part) > MAX_RUN_CHARS else ():
            for cut in range(match.start() + MAX_RUN_CHARS, match.end(), MAX_RUN_CHARS):
                yield part[run_start:cut]
                run_start = cut
        yield part[run_start:]
