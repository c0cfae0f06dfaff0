"""Meta's `tokenizer.model` of Llama 3: lines of a token in base64 and its rank, as tiktoken writes them."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from llama_chat.engine.files.checkpoint import DAMAGED, shown, unreadable
from llama_chat.engine.vocabulary.bpe import PRE_TOKENIZERS, BytePairEncoder
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.engine.vocabulary.vocabulary import Vocabulary
from llama_chat.errors import ModelError

# Llama 3 has 128,000 tokens in 2.2 MB, the longest of 128 bytes.
MAX_FILE_BYTES = 1 << 26
MAX_TOKENS = 1 << 20
MAX_TOKEN_BYTES = 1 << 12

SPECIAL_COUNT = 256
"""Control tokens, whose ids follow those of the ranks. Those that have no name are reserved."""
_NAMED = {
    0: "begin_of_text",
    1: "end_of_text",
    4: "finetune_right_pad_id",
    5: "step_id",
    6: "start_header_id",
    7: "end_header_id",
    8: "eom_id",
    9: "eot_id",
    10: "python_tag",
    11: "image",
}
_BOS, _EOS = "<|begin_of_text|>", "<|end_of_text|>"
_ENDS = (_EOS, "<|eom_id|>", "<|eot_id|>")


def special_tokens() -> tuple[str, ...]:
    """The texts of the control tokens in the order of their ids, as Llama 3.1 and later name them.

    Llama 3 calls some of them reserved (`<|step_id|>`, `<|eom_id|>`, ...) and uses them for nothing.
    """
    reserved = iter(range(SPECIAL_COUNT))
    return tuple(
        f"<|{_NAMED[n]}|>" if n in _NAMED else f"<|reserved_special_token_{next(reserved)}|>"
        for n in range(SPECIAL_COUNT)
    )


def tokenizer_from_tiktoken(path: Path) -> Tokenizer:
    """The tokenizer in the file.

    Raises:
        ModelError: it cannot be read, is damaged, or is one of SentencePiece (Llama 2).
    """
    vocabulary = vocabulary_from_tiktoken(path)
    ranks = {piece: rank for rank, piece in enumerate(vocabulary.pieces[:-SPECIAL_COUNT])}
    return Tokenizer(vocabulary, BytePairEncoder(vocabulary, ranks, PRE_TOKENIZERS["llama3"]))


def vocabulary_from_tiktoken(path: Path) -> Vocabulary:
    """The tokens alone, which are read in half the time.

    Raises:
        ModelError: as `tokenizer_from_tiktoken`.
    """
    pieces = _pieces(_read(path), path)
    n_ranks, specials = len(pieces), special_tokens()
    special_ids = {text: n_ranks + n for n, text in enumerate(specials)}
    return Vocabulary(
        pieces=[*pieces, *(text.encode() for text in specials)],
        special_ids=special_ids,
        hidden_ids=frozenset(special_ids.values()),
        end_ids=frozenset(special_ids[text] for text in _ENDS),
        bos_id=special_ids[_BOS],
        eos_id=special_ids[_EOS],
        adds_bos=True,
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ModelError(f"{path.name}: has more than {MAX_FILE_BYTES:,} bytes", hint=DAMAGED)
    if _is_sentencepiece(raw):
        raise ModelError(
            f"{path.name}: a SentencePiece vocabulary, as Llama 2 has it; of Meta's, Llama 3's can be read",
            hint="Take the model in its Hugging Face form (with tokenizer.json) or as GGUF.",
        )
    return raw


def _is_sentencepiece(raw: bytes) -> bool:
    """Whether it is a protobuf of pieces: field 1, a message of some bytes, in which field 1 is a text."""
    return raw[:1] == raw[2:3] == b"\n"


def _pieces(raw: bytes, path: Path) -> list[bytes]:
    """The bytes of every token by its rank.

    Raises:
        ModelError: a line is damaged, or the ranks are not 0, 1, 2, ... each once.
    """
    if raw.count(b"\n") > MAX_TOKENS:
        raise ModelError(f"{path.name}: has more than {MAX_TOKENS:,} lines", hint=DAMAGED)
    lines = raw.splitlines()
    pieces: list[bytes] = [b""] * len(lines)
    rank_of: dict[bytes, int] = {}
    for n, line in enumerate(lines):
        piece, rank = _parsed(line)
        if not piece or not 0 <= rank < len(lines) or pieces[rank] or piece in rank_of:
            text = shown(line[:40].decode("utf-8", "replace"))
            raise ModelError(
                f"{path.name}: line {n + 1:,} of {len(lines):,} is no token and rank of its own: {text}",
                hint=DAMAGED,
            )
        pieces[rank] = piece
        rank_of[piece] = rank
    if not pieces:
        raise ModelError(f"{path.name}: there are no tokens in it", hint=DAMAGED)
    return pieces


def _parsed(line: bytes) -> tuple[bytes, int]:
    """The token and its rank; an empty token where the line is no such pair."""
    encoded, _, rank = line.partition(b" ")
    if not rank.isdigit() or len(rank) > 9 or len(encoded) > MAX_TOKEN_BYTES:
        return b"", 0
    try:
        return base64.b64decode(encoded, validate=True), int(rank)
    except (binascii.Error, ValueError):
        return b"", 0
