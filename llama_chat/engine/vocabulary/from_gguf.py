"""The tokenizer that a GGUF file carries in its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.vocabulary.bpe import PRE_TOKENIZERS, BytePairEncoder
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.engine.vocabulary.vocabulary import END_TEXTS, Vocabulary
from llama_chat.errors import ModelError

# GGUF's token types.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6


def byte_of_printable() -> dict[str, int]:
    """GPT-2's alphabet: printable characters stand for the bytes that are not (a space is Ġ)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    hidden = (byte for byte in range(256) if chr(byte) not in table)
    return table | {chr(256 + n): byte for n, byte in enumerate(hidden)}


def tokenizer_from_gguf(file: GGUFFile) -> Tokenizer:
    """The tokenizer in the file's metadata.

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
    vocabulary = Vocabulary(
        pieces=pieces,
        special_ids=special_ids,
        hidden_ids=frozenset(i for i, type_ in enumerate(types) if type_ in (_CONTROL, _UNKNOWN)),
        end_ids=_end_ids(file, special_ids, len(tokens)),
        bos_id=_special_id(file, "bos", len(tokens)),
        eos_id=_special_id(file, "eos", len(tokens)),
        adds_bos=file.get("tokenizer.ggml.add_bos_token", bool, name.startswith("llama")),
    )
    ranks = _ranks_of(file, pieces, frozenset(special_ids.values()))
    return Tokenizer(vocabulary, BytePairEncoder(vocabulary, ranks, PRE_TOKENIZERS[name]))


def _bytes_of(texts: Sequence[str]) -> list[bytes]:
    """What texts in GPT-2's alphabet stand for; all at once, since there are hundreds of thousands.

    Raises:
        UnicodeEncodeError: a character is not of that alphabet.
    """
    whole = "".join(texts).translate(_alphabet()).encode("latin-1")
    stops = list(accumulate(map(len, texts)))
    return [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _alphabet() -> dict[int, str]:
    """For `str.translate`: each of its characters to that of its byte, whatever else to one without."""
    outside = dict.fromkeys(range(256), "\uffff")
    return outside | {ord(char): chr(byte) for char, byte in byte_of_printable().items()}


def _pieces_of(tokens: Sequence[bytes], special: frozenset[int], file: GGUFFile) -> list[bytes]:
    try:
        pieces = _bytes_of(["" if i in special else token.decode() for i, token in enumerate(tokens)])
    except UnicodeError:
        raise _no_byte_pair(tokens, special, file) from None
    return [tokens[i] if i in special else piece for i, piece in enumerate(pieces)]


def _no_byte_pair(tokens: Sequence[bytes], special: frozenset[int], file: GGUFFile) -> ModelError:
    """Names the first token that is to blame."""
    for i, token in enumerate(tokens):
        try:
            _bytes_of(["" if i in special else token.decode()])
        except UnicodeError:
            return ModelError(
                f"{file.path.name}: token {i} is no byte-pair token: {token[:80]!r}", hint=DAMAGED
            )
    raise AssertionError("every token was read by itself, but not all together")


def _merged(merges: Sequence[object], file: GGUFFile) -> list[bytes]:
    """The whole that each merge (`left right`) makes."""
    for merge in merges:
        if not isinstance(merge, bytes) or merge.count(b" ") != 1:
            raise ModelError(f"{file.path.name}: {merge!r:.80} is no merge", hint=DAMAGED)
    try:
        return _bytes_of([merge.decode().replace(" ", "") for merge in merges if isinstance(merge, bytes)])
    except UnicodeError as error:
        raise ModelError(f"{file.path.name}: a merge is no text: {error}", hint=DAMAGED) from None


def _ranks_of(file: GGUFFile, pieces: Sequence[bytes], special: frozenset[int]) -> dict[bytes, int]:
    """Ranks in merge order; where that is the order of the ids, the ids themselves.

    tiktoken wants one rank a token and merges the pair whose whole has the lowest; that equals the merge
    list as long as each merge makes a token of its own.
    """
    id_of = {piece: i for i, piece in enumerate(pieces) if i not in special}
    merged = _merged(file.get("tokenizer.ggml.merges", list), file)
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
