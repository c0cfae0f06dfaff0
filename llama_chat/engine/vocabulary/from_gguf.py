"""The tokenizer that a GGUF file carries in its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.vocabulary.bpe import PRE_TOKENIZERS, BytePairEncoder
from llama_chat.engine.vocabulary.byte_level import byte_of_printable as byte_of_printable
from llama_chat.engine.vocabulary.byte_level import byte_pieces, bytes_of, merge_ranks
from llama_chat.engine.vocabulary.sentencepiece import ScoredTokens, sentencepiece_encoder, spaced_bytes
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.engine.vocabulary.vocabulary import Vocabulary, end_ids_among
from llama_chat.errors import ModelError, NotOursError

# GGUF's token types.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

# What llama.cpp takes for SentencePiece vocabularies whose file does not say.
_SENTENCEPIECE_IDS = {"bos": 1, "eos": 2}


def tokenizer_from_gguf(file: GGUFFile) -> Tokenizer:
    """The tokenizer in the file's metadata.

    Raises:
        ModelError: it is missing, damaged, or of a kind that is not read.
    """
    kind = file.get("tokenizer.ggml.model", str)
    if kind == "gpt2":
        return _byte_pair_tokenizer(file)
    if kind == "llama":
        return _sentencepiece_tokenizer(file)
    raise NotOursError(
        f"{file.path.name}: the tokenizer is '{shown(kind)}'; byte-pair vocabularies ('gpt2') and those of "
        "SentencePiece ('llama') can be read",
        by_auto=False,
    )


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of a file, whatever they are written in."""

    texts: list[str]
    types: list[int]
    special_ids: dict[str, int]

    @property
    def reserved(self) -> frozenset[int]:
        """Ids that ordinary text never becomes."""
        return frozenset(self.special_ids.values())

    def ids_of(self, *types: int) -> frozenset[int]:
        """The ids of tokens of these types."""
        return frozenset(i for i, type_ in enumerate(self.types) if type_ in types)


def _read_tokens(file: GGUFFile) -> _Tokens:
    tokens: list[bytes] = file.get("tokenizer.ggml.tokens", list)
    types: list[int] = file.get("tokenizer.ggml.token_type", list, [_NORMAL] * len(tokens))
    if not all(isinstance(token, bytes) for token in tokens):
        raise ModelError(f"{file.path.name}: the {len(tokens)} tokens are no texts", hint=DAMAGED)
    if len(types) != len(tokens):
        raise ModelError(f"{file.path.name}: {len(tokens)} tokens but {len(types)} token types", hint=DAMAGED)
    texts = [token.decode("utf-8", "replace") for token in tokens]
    special = (_CONTROL, _USER_DEFINED, _UNKNOWN)
    return _Tokens(
        texts=texts,
        types=types,
        special_ids={
            text: i for i, (text, type_) in enumerate(zip(texts, types, strict=True)) if type_ in special
        },
    )


def _byte_pair_tokenizer(file: GGUFFile) -> Tokenizer:
    where = file.path.name
    name = file.get("tokenizer.ggml.pre", str, "gpt-2")
    if name not in PRE_TOKENIZERS:
        raise NotOursError(
            f"{where}: the text is to be cut as '{shown(name)}', which is not known",
            hint=f"Known are {', '.join(PRE_TOKENIZERS)}.",
            by_auto=False,
        )
    tokens = _read_tokens(file)
    pieces = byte_pieces(tokens.texts, tokens.reserved, where)
    vocabulary = Vocabulary(
        pieces=pieces,
        special_ids=tokens.special_ids,
        hidden_ids=tokens.ids_of(_CONTROL, _UNKNOWN),
        end_ids=_end_ids(file, tokens),
        bos_id=_special_id(file, "bos", tokens),
        eos_id=_special_id(file, "eos", tokens),
        adds_bos=file.get("tokenizer.ggml.add_bos_token", bool, name.startswith("llama")),
    )
    merged = _merged(file.get("tokenizer.ggml.merges", list), file)
    ranks = merge_ranks(merged, pieces, tokens.reserved, where)
    return Tokenizer(vocabulary, BytePairEncoder(vocabulary, ranks, PRE_TOKENIZERS[name]))


def _merged(merges: Sequence[object], file: GGUFFile) -> list[bytes]:
    """The whole that each merge (`left right`) makes."""
    for merge in merges:
        if not isinstance(merge, bytes) or merge.count(b" ") != 1:
            raise ModelError(f"{file.path.name}: {merge!r:.80} is no merge", hint=DAMAGED)
    # All at once, since there are hundreds of thousands: GPT-2's alphabet has no line feed.
    whole = b"\n".join(merge for merge in merges if isinstance(merge, bytes)).replace(b" ", b"")
    if whole.count(b"\n") != max(0, len(merges) - 1):
        raise ModelError(f"{file.path.name}: a merge has a line feed in it", hint=DAMAGED)
    try:
        return bytes_of(whole.decode().split("\n") if merges else [])
    except UnicodeError as error:
        raise ModelError(f"{file.path.name}: a merge is no text: {error}", hint=DAMAGED) from None


def _sentencepiece_tokenizer(file: GGUFFile) -> Tokenizer:
    """Space before text that begins all, or follows the begin-of-text token, as Meta's own code has it."""
    tokens = _read_tokens(file)
    scores: list[float] = file.get("tokenizer.ggml.scores", list)
    has_prefix = file.get("tokenizer.ggml.add_space_prefix", bool, True)
    byte_ids = tokens.ids_of(_BYTE)
    vocabulary = Vocabulary(
        pieces=spaced_bytes(tokens.texts, tokens.reserved, byte_ids),
        special_ids=tokens.special_ids,
        hidden_ids=tokens.ids_of(_CONTROL, _UNKNOWN),
        end_ids=_end_ids(file, tokens),
        bos_id=_special_id(file, "bos", tokens, _SENTENCEPIECE_IDS["bos"]),
        eos_id=_special_id(file, "eos", tokens, _SENTENCEPIECE_IDS["eos"]),
        adds_bos=file.get("tokenizer.ggml.add_bos_token", bool, True),
        space_before="start" if has_prefix else "nothing",
    )
    scored = ScoredTokens(tokens.texts, scores, normal_ids=tokens.ids_of(_NORMAL), byte_ids=byte_ids)
    return Tokenizer(vocabulary, sentencepiece_encoder(scored, has_prefix=has_prefix, where=file.path.name))


def _special_id(file: GGUFFile, name: str, tokens: _Tokens, usual: int | None = None) -> int | None:
    """The id that the file names; else the usual one, where that is a control token."""
    token_id = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
    if token_id is None and usual in tokens.ids_of(_CONTROL):
        return usual
    return token_id if isinstance(token_id, int) and 0 <= token_id < len(tokens.texts) else None


def _end_ids(file: GGUFFile, tokens: _Tokens) -> frozenset[int]:
    named = (_special_id(file, name, tokens) for name in ("eos", "eot", "eom"))
    return end_ids_among(named, tokens.special_ids, len(tokens.texts))
