"""GPT-2's way to write bytes as text, and the merge order of vocabularies that are written so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.errors import ModelError


def byte_of_printable() -> dict[str, int]:
    """GPT-2's alphabet: printable characters stand for the bytes that are not (a space is Ġ)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    hidden = (byte for byte in range(256) if chr(byte) not in table)
    return table | {chr(256 + n): byte for n, byte in enumerate(hidden)}


def bytes_of(texts: Sequence[str]) -> list[bytes]:
    """What texts in GPT-2's alphabet stand for; all at once, since there are hundreds of thousands.

    Raises:
        UnicodeEncodeError: a character is not of that alphabet.
    """
    whole = "".join(texts).translate(_alphabet()).encode("latin-1")
    stops = list(accumulate(map(len, texts)))
    return [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


@cache
def _alphabet() -> dict[int, str]:
    """For `str.translate`: each of its characters to that of its byte, whatever else to one without."""
    outside = dict.fromkeys(range(256), "\uffff")
    return outside | {ord(char): chr(byte) for char, byte in byte_of_printable().items()}


def byte_pieces(texts: Sequence[str], special: frozenset[int], where: str) -> list[bytes]:
    """The bytes of every token; a control token's text is taken as it stands.

    Raises:
        ModelError: an ordinary token is not written in GPT-2's alphabet.
    """
    ordinary = ["" if i in special else text for i, text in enumerate(texts)]
    try:
        pieces = bytes_of(ordinary)
    except UnicodeError:
        i = next(i for i, text in enumerate(ordinary) if not _is_byte_pair(text))
        raise ModelError(
            f"{where}: token {i} is no byte-pair token: {texts[i]!r:.80}", hint=DAMAGED
        ) from None
    return [texts[i].encode() if i in special else piece for i, piece in enumerate(pieces)]


def _is_byte_pair(text: str) -> bool:
    return all(_alphabet().get(ord(char), "\uffff") != "\uffff" for char in text)


def merge_ranks(
    merged: Sequence[bytes], pieces: Sequence[bytes], special: frozenset[int], where: str
) -> dict[bytes, int]:
    """Ranks in merge order; where that is the order of the ids, the ids themselves.

    tiktoken wants one rank a token and merges the pair whose whole has the lowest; that equals the merge
    list as long as each merge makes a token of its own.

    Args:
        merged: the whole that each merge makes, in the order of the list.
        pieces: the bytes of every token.
        special: ids that no merge may make.
        where: the file, for errors.

    Raises:
        ModelError: the vocabulary lacks what a merge makes.
    """
    id_of = {piece: i for i, piece in enumerate(pieces) if i not in special}
    singles = [piece for byte in range(256) if (piece := bytes([byte])) in id_of]
    missing = next((piece for piece in merged if piece not in id_of), None)
    if missing is not None:
        raise ModelError(f"{where}: the vocabulary has no token for {missing!r:.80}", hint=DAMAGED)
    wholes = list(dict.fromkeys(merged))
    if all(a < b for a, b in pairwise(id_of[piece] for piece in wholes)):
        return {piece: id_of[piece] for piece in (*singles, *wholes)}
    return {piece: rank for rank, piece in enumerate((*singles, *wholes))}
