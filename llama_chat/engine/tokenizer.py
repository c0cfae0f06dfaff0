"""Text to token ids and back: byte-pair encoding by tiktoken, control tokens only from the template.

`encode` never gives a control token, whatever the text says; only a `Special` piece does.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import regex
import tiktoken

from llama_chat.engine.gguf import DAMAGED, GGUFFile, shown
from llama_chat.errors import ModelError, TemplateError
from llama_chat.events import Ids, Piece, Special

if TYPE_CHECKING:
    from collections.abc import Callable

# tiktoken's regex engine overflows its stack on longer runs of one kind (Meta's figures, for Llama 3).
MAX_ENCODE_CHARS = 400_000
MAX_RUN_CHARS = 25_000

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# GGUF's token types.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

# Tokens that end a turn in the families that are served, beside those that the file itself names.
END_TEXTS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>")


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


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a tokenizer is built from, whatever file it came from."""

    pieces: Sequence[bytes]
    """Bytes of every id; control tokens by their text."""
    ranks: Mapping[bytes, int]
    """Merge order: bytes to rank, the single bytes first."""
    special_ids: Mapping[str, int]
    """Control and user-defined tokens: text to id."""
    hidden_ids: frozenset[int]
    """Control tokens, which are not shown in a reply."""
    end_ids: frozenset[int]
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool
    pre: PreTokenizer


class Tokenizer:
    """Encodes ordinary text and template pieces; decodes ids."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        special = frozenset(vocabulary.special_ids.values())
        id_of = {piece: i for i, piece in enumerate(vocabulary.pieces) if i not in special}
        ranks = dict(vocabulary.ranks)
        self._id_of_rank = {rank: id_of[piece] for piece, rank in ranks.items()}
        # A vocabulary may lack single bytes (the default model's has no token for \x04). tiktoken wants
        # all 256, so those get ranks of their own and their ids are left out, as llama.cpp does.
        missing = [bytes([byte]) for byte in range(256) if bytes([byte]) not in ranks]
        ranks |= {piece: len(vocabulary.pieces) + n for n, piece in enumerate(missing)}
        self._ids_are_ranks = not missing and all(rank == i for rank, i in self._id_of_rank.items())
        self._bpe = tiktoken.Encoding(
            "llama-chat", pat_str=vocabulary.pre.pattern, mergeable_ranks=ranks, special_tokens={}
        )
        self._digit = regex.compile(r"\p{N}") if vocabulary.pre.single_digits else None

    def __len__(self) -> int:
        return len(self.vocabulary.pieces)

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The texts of the control tokens."""
        return tuple(self.vocabulary.special_ids)

    @property
    def visible_tokens(self) -> tuple[str, ...]:
        """The texts of those control tokens that are shown in a reply."""
        hidden = self.vocabulary.hidden_ids
        return tuple(text for text, i in self.vocabulary.special_ids.items() if i not in hidden)

    def text_of(self, token_id: int | None) -> str:
        """The text of one control token, empty for None."""
        return "" if token_id is None else self.vocabulary.pieces[token_id].decode("utf-8", "replace")

    def piece(self, token_id: int) -> bytes:
        """The bytes of a token; of a control token, its text.

        Raises:
            IndexError: no such id.
        """
        if token_id < 0:  # would count from the end
            raise IndexError(token_id)
        return self.vocabulary.pieces[token_id]

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text. Lone surrogates, which no UTF-8 can carry, become U+FFFD."""
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        found: list[int] = []
        for part in self._stages(text):
            found += self._bpe.encode_ordinary(part)
        if self._ids_are_ranks:
            return found
        id_of_rank = self._id_of_rank
        return [id_of_rank[rank] for rank in found if rank in id_of_rank]

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

    def encode_pieces(self, pieces: Iterable[Piece]) -> list[int]:
        """The ids of a rendered template, with the begin-of-text id in front where the model wants one.

        Raises:
            TemplateError: the template wrote a control token that the vocabulary lacks.
        """
        found: list[int] = []
        for piece in pieces:
            if isinstance(piece, Special):
                if piece.text not in self.vocabulary.special_ids:
                    raise TemplateError(
                        f"the chat template writes {piece.text!r}, which is no token of the model"
                    )
                found.append(self.vocabulary.special_ids[piece.text])
            elif isinstance(piece, Ids) and self._spells(piece):
                found += piece.token_ids
            else:
                found += self.encode(piece.text)
        bos_id = self.vocabulary.bos_id
        if self.vocabulary.adds_bos and bos_id is not None and found[:1] != [bos_id]:
            found.insert(0, bos_id)
        return found

    def _spells(self, piece: Ids) -> bool:
        """Whether the ids are ordinary ones of this vocabulary that make the piece's text.

        Recorded ids may come from another model of the same name, or from a file that somebody changed.
        """
        ids, control_ids = piece.token_ids, self.vocabulary.hidden_ids | self.vocabulary.end_ids
        if (ids and (min(ids) < 0 or max(ids) >= len(self))) or not control_ids.isdisjoint(ids):
            return False
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        if not piece.text:  # nothing is claimed, and there is nothing else to take
            return True
        text = decoder.decode(b"".join(self.vocabulary.pieces[token_id] for token_id in ids))
        # An interrupted reply may lack the U+FFFD of a character that was cut at its end.
        return piece.text in (text, text + decoder.decode(b"", final=True))

    def decoder(self) -> Detokenizer:
        """A fresh decoder for one reply."""
        return Detokenizer(self)


class Detokenizer:
    """Ids to text as they come: bytes that do not end a character wait for those that do."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decode: Callable[..., str] = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, token_id: int) -> str:
        """What became readable by this token; nothing for a control token."""
        if token_id in self._tokenizer.vocabulary.hidden_ids:
            return ""
        return self._decode(self._tokenizer.piece(token_id))

    def flush(self) -> str:
        """What is left: a character that was cut short becomes U+FFFD."""
        return self._decode(b"", final=True)


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


# --- from GGUF -------------------------------------------------------------------------------------


def byte_of_printable() -> dict[str, int]:
    """GPT-2's alphabet: printable characters stand for the bytes that are not (a space is Ġ)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    hidden = (byte for byte in range(256) if chr(byte) not in table)
    return table | {chr(256 + n): byte for n, byte in enumerate(hidden)}


def vocabulary_from_gguf(file: GGUFFile) -> Vocabulary:
    """The vocabulary in the file's metadata.

    Raises:
        ModelError: it is missing, damaged, or of a kind that is not read.
    """
    kind = file.get("tokenizer.ggml.model", str)
    if kind != "gpt2":
        raise ModelError(
            f"{file.path.name}: the tokenizer is '{shown(kind)}'; byte-pair vocabularies ('gpt2') can be read"
        )
    name = file.get("tokenizer.ggml.pre", str, "gpt-2")
    if name not in PRE_TOKENIZERS:
        raise ModelError(
            f"{file.path.name}: the text is to be cut as '{shown(name)}', which is not known",
            hint=f"Known are {', '.join(PRE_TOKENIZERS)}.",
        )
    tokens: list[bytes] = file.get("tokenizer.ggml.tokens", list)
    types: list[int] = file.get("tokenizer.ggml.token_type", list, [_NORMAL] * len(tokens))
    if not all(isinstance(token, bytes) for token in tokens):
        raise ModelError(f"{file.path.name}: the {len(tokens)} tokens are no texts", hint=DAMAGED)
    if len(types) != len(tokens):
        raise ModelError(f"{file.path.name}: {len(tokens)} tokens but {len(types)} token types", hint=DAMAGED)
    special_ids = {
        token.decode("utf-8", "replace"): i
        for i, (token, type_) in enumerate(zip(tokens, types, strict=True))
        if type_ in (_CONTROL, _USER_DEFINED, _UNKNOWN)
    }
    pieces = _pieces_of(tokens, frozenset(special_ids.values()), file)
    return Vocabulary(
        pieces=pieces,
        ranks=_ranks_of(file, pieces, frozenset(special_ids.values())),
        special_ids=special_ids,
        hidden_ids=frozenset(i for i, type_ in enumerate(types) if type_ in (_CONTROL, _UNKNOWN)),
        end_ids=_end_ids(file, special_ids, len(tokens)),
        bos_id=_special_id(file, "bos", len(tokens)),
        eos_id=_special_id(file, "eos", len(tokens)),
        adds_bos=file.get("tokenizer.ggml.add_bos_token", bool, name.startswith("llama")),
        pre=PRE_TOKENIZERS[name],
    )


def _pieces_of(tokens: Sequence[bytes], special: frozenset[int], file: GGUFFile) -> list[bytes]:
    table = byte_of_printable()
    pieces = []
    for i, token in enumerate(tokens):
        if i in special:
            pieces.append(token)
            continue
        try:
            pieces.append(bytes([table[char] for char in token.decode("utf-8")]))
        except (KeyError, UnicodeDecodeError):
            raise ModelError(
                f"{file.path.name}: token {i} is no byte-pair token: {token[:80]!r}", hint=DAMAGED
            ) from None
    return pieces


def _ranks_of(file: GGUFFile, pieces: Sequence[bytes], special: frozenset[int]) -> dict[bytes, int]:
    """Ranks in merge order; where that is the order of the ids, the ids themselves.

    tiktoken wants one rank a token and merges the pair whose whole has the lowest; that equals the merge
    list as long as each merge makes a token of its own.
    """
    id_of = {piece: i for i, piece in enumerate(pieces) if i not in special}
    table = byte_of_printable()
    merged: list[bytes] = []
    for merge in file.get("tokenizer.ggml.merges", list):
        try:
            left, right = merge.decode("utf-8").split(" ")
            merged.append(bytes([table[char] for char in left + right]))
        except (AttributeError, KeyError, ValueError):
            raise ModelError(f"{file.path.name}: {merge!r:.80} is no merge", hint=DAMAGED) from None
    singles = [piece for byte in range(256) if (piece := bytes([byte])) in id_of]
    missing = next((piece for piece in merged if piece not in id_of), None)
    if missing is not None:
        raise ModelError(f"{file.path.name}: the vocabulary has no token for {missing!r:.80}", hint=DAMAGED)
    ids = [id_of[piece] for piece in merged]
    if all(a < b for a, b in pairwise(ids)):
        return {piece: id_of[piece] for piece in (*singles, *merged)}
    return {piece: rank for rank, piece in enumerate(dict.fromkeys((*singles, *merged)))}


def _special_id(file: GGUFFile, name: str, n_tokens: int) -> int | None:
    token_id = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return token_id if isinstance(token_id, int) and 0 <= token_id < n_tokens else None


def _end_ids(file: GGUFFile, special_ids: Mapping[str, int], n_tokens: int) -> frozenset[int]:
    named = (_special_id(file, name, n_tokens) for name in ("eos", "eot", "eom"))
    known = (special_ids.get(text) for text in END_TEXTS)
    return frozenset(token_id for token_id in (*named, *known) if token_id is not None)
