"""SentencePiece's `tokenizer.model` (Llama 2, Mistral): listed, not run; read without its library.

A protobuf message. Of its fields: 1 is a piece (1 its text, 3 its type), 2 the trainer's settings (3 the
kind of model, 41 and 42 the ids of begin and end).
Source: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.engine.inspect.listing import SPECIAL_TYPES, TokenizerFacts
from llama_chat.errors import ModelError

MAX_BYTES = 64 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECE, _TRAINER = 1, 2
_KINDS = {1: "unigram", 2: "byte-pair", 3: "words", 4: "characters"}
_BOS_FIELD, _EOS_FIELD, _KIND_FIELD = 41, 42, 3


def is_sentencepiece(path: Path) -> bool:
    """Whether the file begins as such a message does: with a piece. Meta's list begins with base64."""
    try:
        with path.open("rb") as file:
            head = file.read(3)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    return len(head) == 3 and head[0] == _PIECE << 3 | _BYTES and head[2] == 1 << 3 | _BYTES


def sentencepiece_tokenizer(path: Path) -> TokenizerFacts:
    """What the file says.

    Raises:
        ModelError: it is cut short, too large, or no such message.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ModelError(f"{path.name}: has more than {MAX_BYTES:,} bytes", hint=DAMAGED)
    count, special, trainer = 0, {}, b""
    try:
        for field, value in _fields(memoryview(data)):
            if field == _TRAINER and isinstance(value, memoryview):
                trainer = bytes(value)
            elif field == _PIECE and isinstance(value, memoryview):
                parts = dict(_fields(value))
                if parts.get(3, 1) in SPECIAL_TYPES:
                    special[bytes(parts[1]).decode("utf-8", "replace")] = count
                count += 1
        settings = dict(_fields(memoryview(trainer)))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path.name}: no SentencePiece model", hint=DAMAGED) from error
    bos, eos = settings.get(_BOS_FIELD, 1), settings.get(_EOS_FIELD, 2)
    kind = settings.get(_KIND_FIELD, 1)
    return TokenizerFacts(
        file=path.name,
        kind=f"SentencePiece ({_KINDS.get(kind, kind) if isinstance(kind, int) else '?'})",
        size=count,
        special_tokens=special,
        pattern=None,
        bos_id=bos if isinstance(bos, int) and bos < count else None,
        end_ids=(eos,) if isinstance(eos, int) and eos < count else (),
    )


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number and value, texts and messages inside as their bytes.

    Raises:
        IndexError, ValueError: it ends in the middle of one, or is something else.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"the kind of field {kind}")
        if size > end - at:
            raise ValueError(f"a field of {size} bytes")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for n in range(10):
        byte = data[at + n]
        number |= (byte & 127) << 7 * n
        if byte < 128:
            return number, at + n + 1
    raise ValueError("a number of more than ten bytes")
