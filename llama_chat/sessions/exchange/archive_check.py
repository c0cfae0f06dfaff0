"""Whether packed tokens can be unpacked: every length in them is checked before anybody believes it.

The blob comes from a file, and `unpack_archive` trusts what it is given: 1 kB of zeros, compressed, may say
that it holds a billion of something.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from llama_chat.sessions.columns import ColumnReader
from llama_chat.sessions.exchange.fields import BadValueError
from llama_chat.sessions.tail import group_count

MOST_UNPACKED_BYTES = 256_000_000
"""200,000 tokens of 64 candidates take so much (1.3 kB each, measured 2026-11)."""
_MOST_CANDIDATES = 64
_MOST_BINS = 4096
_MOST_BINS_TOGETHER = 128_000_000
_LONGEST_TOKEN_S = 1e7
_FORM = 1


def check_archive(packed: bytes) -> tuple[array[int], array[int]]:
    """Index and id of each token in the blob, which `unpack_archive` will unpack.

    Raises:
        BadValueError: it would not, or only with absurd memory.
    """
    try:
        columns = _Columns(ColumnReader(packed, most_bytes=MOST_UNPACKED_BYTES))
        indices, ids = _check_tokens(columns)
        _check_candidates(columns, len(ids))
    except (ValueError, zlib.error) as error:
        raise BadValueError(f"the packed tokens are damaged ({error})") from error
    if not columns.is_at_end:
        raise BadValueError("the packed tokens are damaged (something follows them)")
    return indices, ids


class _Columns:
    """Columns with the lengths that they must have."""

    def __init__(self, source: ColumnReader) -> None:
        self._source = source

    @property
    def is_at_end(self) -> bool:
        return self._source.is_at_end

    def raw(self, length: int) -> bytes:
        content = self._source.raw()
        _require(len(content) == length, "a column of the wrong length")
        return content

    def numbers(self, typecode: str, count: int | None = None) -> array[Any]:
        values = self._source.numbers(typecode)
        _require(count is None or len(values) == count, "a column of the wrong length")
        return values

    def counts(self, count: int, most: int) -> array[int]:
        values = self.numbers("I", count)
        _require(max(values, default=0) <= most, "a number is too large")
        return values


def _check_tokens(columns: _Columns) -> tuple[array[int], array[int]]:
    """Index and id of each token; takes the columns up to the candidates."""
    _require(columns.raw(1)[0] == _FORM, "of a form that this llama-chat does not know")
    indices = columns.numbers("I")
    count = len(indices)
    # Some may be missing: those that could not be read out of a damaged store.
    _require(all(a < b for a, b in pairwise(indices)), "tokens out of order")
    ids = columns.numbers("I", count)
    _require(max(columns.raw(count), default=0) <= 1, "chosen by nobody that is known")
    columns.numbers("d", count)  # logprobs, of which nan is one
    columns.numbers("I", count)  # ranks
    seconds = columns.numbers("d", count)
    _require(all(0 <= value <= _LONGEST_TOKEN_S for value in seconds), "a token took no time that can be")
    lengths = columns.numbers("I", count)
    _check_utf8(lengths, columns.raw(sum(lengths)))
    marks = columns.numbers("I", count)
    columns.raw(sum(mark - 1 for mark in marks if mark))
    return indices, ids


def _check_utf8(lengths: Sequence[int], joined: bytes) -> None:
    for start, end in pairwise(accumulate(lengths, initial=0)):
        joined[start:end].decode("utf-8", "surrogatepass")


def _check_candidates(columns: _Columns, count: int) -> None:
    lengths = columns.counts(count, _MOST_CANDIDATES)
    columns.numbers("d", count)  # log-sum-exps
    together = sum(lengths)
    columns.counts(together, 2**31 - 1)  # token ids
    columns.numbers("I", together)
    columns.numbers("I", together)
    bins = columns.counts(count, _MOST_BINS)
    _require(sum(bins) <= _MOST_BINS_TOGETHER, "too many bins")
    groups = [group_count(each) for each in bins]
    sums = columns.counts(sum(groups), 2**31 - 1)
    places = pairwise(accumulate(groups, initial=0))
    filled = [end - start - sums[start:end].count(0) for start, end in places]
    _require(columns.numbers("I", count) == array("I", filled), "sums without their bins")
    columns.numbers("I", sum(filled))


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ValueError(otherwise)
