"""One token's candidates as bytes, exactly: the quick form that a running reply is kept in.

Layout, little-endian: flags u8 (1: penalised equals raw), candidates u16, tail bins u16, logsumexp f64, then
the arrays: ids i32, logits f32, penalised f32 (unless equal), tail counts i32, tail log-sum-exp f32.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

from llama_chat.events import Candidates
from llama_chat.sessions.records import from_little, little

_HEADER = struct.Struct("<BHHd")
_SAME = 1


def pack_candidates(candidates: Candidates) -> bytes:
    """The candidates as bytes; about 3 kB with 64 of them and 300 bins of tail."""
    raw = little(candidates.logits)
    penalised = little(candidates.penalised)
    is_same = raw == penalised  # by bytes: nan is not equal to itself
    header = _HEADER.pack(
        _SAME if is_same else 0, len(candidates), len(candidates.tail_counts), candidates.logsumexp
    )
    tail = little(candidates.tail_counts) + little(candidates.tail_logsumexp)
    return b"".join((header, little(candidates.token_ids), raw, b"" if is_same else penalised, tail))


def unpack_candidates(packed: bytes) -> Candidates:
    """The candidates that `pack_candidates` packed."""
    flags, count, bins, logsumexp = _HEADER.unpack_from(packed)
    place = _HEADER.size

    def take(typecode: str, length: int) -> array[Any]:
        nonlocal place
        start, place = place, place + 4 * length
        return from_little(typecode, packed[start:place])

    token_ids, logits = take("i", count), take("f", count)
    penalised = logits[:] if flags & _SAME else take("f", count)
    return Candidates(token_ids, logits, penalised, take("i", bins), take("f", bins), logsumexp)
