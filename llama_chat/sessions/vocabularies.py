"""The tokens of the models that wrote: so that a stored reply can be looked into without its model.

A row is named by the digest of what is in it. So all quantisations of a model share one, and whoever writes
it twice writes the same. They stay as long as the store does, as the rows of `models` do: nothing of a talk
is in them, each is a few hundred kB (SmolLM2's 49,152 tokens 209 kB, Llama 3's 128,256 about 700), and a
model that was used once is likely to be used again.

Statements and packing only; the transactions are the caller's.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import overload

from llama_chat.distribution.names import TokenNames, vocabulary_digest
from llama_chat.sessions.columns import ColumnReader, ColumnWriter
from llama_chat.sessions.failures import UNREADABLE

_VERSION = 1
_MOST_BYTES = 1 << 27
"""Unpacked: no vocabulary is so large."""


class CutPieces(Sequence[bytes]):
    """The tokens of a vocabulary in one stretch of bytes: 128,256 of them are there in 12 ms, not in 60.

    Args:
        lengths: of the tokens, by id.
        joined: their bytes.
    """

    def __init__(self, lengths: Sequence[int], joined: bytes) -> None:
        self._ends = array("I", accumulate(lengths))
        self._joined = joined
        if (self._ends[-1] if self._ends else 0) != len(joined):
            raise ValueError("the bytes of the tokens are cut")

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        n = place + len(self) if place < 0 else place
        if not 0 <= n < len(self):
            raise IndexError(place)
        return self._joined[self._ends[n - 1] if n else 0 : self._ends[n]]


def pack_vocabulary(pieces: Sequence[bytes], special_ids: Collection[int]) -> bytes:
    """The vocabulary as one blob: 50 ms for 128,256 tokens (2 busy cores, 2026-11-22)."""
    out = ColumnWriter()
    out.raw(bytes([_VERSION]))
    out.whole(sorted(special_ids))
    out.whole(map(len, pieces))
    out.raw(b"".join(pieces))
    return out.packed()


def unpack_vocabulary(packed: bytes) -> TokenNames:
    """The vocabulary that `pack_vocabulary` packed.

    Raises:
        UNREADABLE: it did not.
    """
    source = ColumnReader(packed, most_bytes=_MOST_BYTES)
    (version,) = source.raw()
    if version != _VERSION:
        raise ValueError(f"a vocabulary was packed in form {version}, this llama-chat knows {_VERSION}")
    special_ids = source.numbers("I")
    return TokenNames(CutPieces(source.numbers("I"), source.raw()), special_ids)


def check_vocabulary(digest: str, packed: bytes) -> None:
    """Raises one of `UNREADABLE` where the blob is not what the digest names."""
    names = unpack_vocabulary(packed)
    assert isinstance(names.pieces, CutPieces)
    if vocabulary_digest(names.pieces, names.special_ids) != digest:
        raise ValueError("the tokens are not those that the digest names")


def insert_vocabulary(connection: sqlite3.Connection, digest: str, token_count: int, packed: bytes) -> None:
    """Put it in, once; one that is there stays as it is."""
    connection.execute(
        "INSERT INTO vocabularies (digest, token_count, packed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (digest, token_count, packed),
    )


def has_vocabulary(connection: sqlite3.Connection, digest: str) -> bool:
    """Whether it is there."""
    found = connection.execute("SELECT 1 FROM vocabularies WHERE digest = ?", (digest,)).fetchone()
    return found is not None


def digest_of_reply(connection: sqlite3.Connection, message_id: str) -> str:
    """Which vocabulary the reply's tokens are of; empty where that is not known.

    What an older llama-chat noted without it is known once the same weights have run again.
    """
    row = connection.execute(
        "SELECT coalesce(nullif(d.vocabulary, ''), (SELECT same.vocabulary FROM models same WHERE "
        "same.fingerprint = d.fingerprint AND same.vocabulary <> '' ORDER BY same.id DESC LIMIT 1), '') "
        "FROM replies r JOIN models d ON d.id = r.model_id WHERE r.message_id = ?",
        (message_id,),
    ).fetchone()
    return str(row[0]) if row else ""


def load_vocabulary(connection: sqlite3.Connection, digest: str) -> TokenNames:
    """The names of its tokens; none where it is not there, or damaged."""
    row = connection.execute("SELECT packed FROM vocabularies WHERE digest = ?", (digest,)).fetchone()
    try:
        return unpack_vocabulary(row[0]) if row else TokenNames()
    except UNREADABLE:
        return TokenNames()
