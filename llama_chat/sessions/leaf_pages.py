"""Rows read straight from the pages of a damaged SQLite file, where the way to them is lost.

SQLite finds rows by the schema on the first page and by the inner pages of a table's tree; with one of these
damaged, all below is lost to it. The leaves are still there, and a row tells by the kinds of its values of
which table it is (https://sqlite.org/fileformat2.html, "B-tree Pages" and "Record Format").
"""

from __future__ import annotations

import contextlib
import mmap
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Value: TypeAlias = int | float | str | bytes | None
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 0x0D, 0x0A, 0x02
_MOST_COLUMNS = 32
_MOST_VARINT_BYTES = 9
_KINDS: Mapping[str, frozenset[type]] = {
    "INTEGER": frozenset({int}),
    "REAL": frozenset({int, float}),  # 2.0 is kept as an integer
    "TEXT": frozenset({str}),
    "BLOB": frozenset({bytes}),
}
_NONE = type(None)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of a table look like."""

    table: str
    columns: tuple[str, ...]
    kinds: tuple[frozenset[type], ...]
    fewest: int
    """Columns that were added later are missing in older rows."""
    rowid: str
    """The column that is the row's number and therefore NULL in the row; empty where there is none."""
    is_by_key: bool
    """The table is WITHOUT ROWID: its rows lie in the pages of an index."""

    def fits(self, kinds: Sequence[type], *, is_by_key: bool) -> bool:
        """Whether values of these kinds can be a row of the table."""
        return (
            self.is_by_key == is_by_key
            and self.fewest <= len(kinds) <= len(self.kinds)
            and all(kind in allowed for kind, allowed in zip(kinds, self.kinds, strict=False))
        )


def shape_of(connection: sqlite3.Connection, table: str, *, is_by_key: bool) -> Shape:
    """The shape of a table of an undamaged store."""
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    keys = [row for row in rows if row[5]]
    has_number = not is_by_key and len(keys) == 1 and keys[0][2] == "INTEGER"
    rowid = keys[0][1] if has_number else ""
    kinds = tuple(
        frozenset({_NONE}) if name == rowid else _KINDS[kind] | ({_NONE} if not needed and not key else set())
        for _, name, kind, needed, _, key in rows
    )
    fewest = max(place + 1 for place, row in enumerate(rows) if row[5] or (row[3] and row[4] is None))
    return Shape(table, tuple(row[1] for row in rows), kinds, fewest, rowid, is_by_key)


def leaf_rows(path: Path, page_size: int, shapes: Sequence[Shape]) -> Iterator[tuple[str, dict[str, Value]]]:
    """Every row that lies whole in the file and fits a shape: its table, and its values by column.

    Nonsense in the file gives nothing, or now and then a row that is none: check what comes out.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, contextlib.ExitStack() as stack:
        try:
            content = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:  # an empty file
            return
        pages = _Pages(content, page_size)
        for number in range(2, pages.count + 1):  # the first one holds the schema
            yield from _rows_of_page(pages, number, shapes)


def _rows_of_page(
    pages: _Pages, number: int, shapes: Sequence[Shape]
) -> Iterator[tuple[str, dict[str, Value]]]:
    page = pages.page(number)
    kind = page[0]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
        return
    (count,) = struct.unpack_from(">H", page, 3)
    begin = 12 if kind == _INDEX_INNER else 8
    end = begin + 2 * count
    if end > pages.usable:
        return
    for place in struct.unpack_from(f">{count}H", page, begin):
        if place < end:
            continue
        with contextlib.suppress(IndexError, ValueError, struct.error):
            found = _row(pages, page, place + (4 if kind == _INDEX_INNER else 0), kind, shapes)
            if found is not None:
                yield found


def _row(
    pages: _Pages, page: bytes, place: int, page_kind: int, shapes: Sequence[Shape]
) -> tuple[str, dict[str, Value]] | None:
    length, place = _varint(page, place)
    rowid = 0
    if page_kind == _TABLE_LEAF:
        rowid, place = _varint(page, place)
    codes, begin = _header(page, place)
    lengths = [_length_of(code) for code in codes]
    # The two lengths are written apart: nonsense does not agree with itself.
    if begin - place + sum(lengths) != length:
        return None
    kinds = [_kind_of(code) for code in codes]
    shape = next((s for s in shapes if s.fits(kinds, is_by_key=page_kind != _TABLE_LEAF)), None)
    if shape is None:
        return None
    payload = pages.payload(page, place, length, is_table=page_kind == _TABLE_LEAF)
    at = begin - place
    values: dict[str, Value] = {}
    for name, code, width in zip(shape.columns, codes, lengths, strict=False):
        values[name] = rowid if name == shape.rowid else _value(code, payload[at : at + width])
        at += width
    return shape.table, values


class _Pages:
    def __init__(self, content: mmap.mmap, size: int) -> None:
        self._content, self._size = content, size
        self.usable = size  # this program reserves nothing at the end of a page
        self.count = len(content) // size
        self._budget = 2 * self.count
        """So many overflow pages are followed in all: nonsense may name the same again and again."""

    def page(self, number: int) -> bytes:
        return self._content[(number - 1) * self._size : number * self._size]

    def payload(self, page: bytes, place: int, length: int, *, is_table: bool) -> bytes:
        """The bytes of a row, of which the later ones may lie in a chain of pages of their own."""
        local = self._local_bytes(length, is_table=is_table)
        parts = [page[place : place + local]]
        missing = length - local
        (number,) = struct.unpack_from(">I", page, place + local) if missing else (0,)
        while missing > 0:
            self._budget -= 1
            if not 2 <= number <= self.count or self._budget < 0:
                raise ValueError("the row is cut")
            overflow = self.page(number)
            parts.append(overflow[4 : 4 + min(missing, self.usable - 4)])
            missing -= self.usable - 4
            (number,) = struct.unpack_from(">I", overflow)
        payload = b"".join(parts)
        if len(payload) != length:
            raise ValueError("the row is cut")
        return payload

    def _local_bytes(self, length: int, *, is_table: bool) -> int:
        """How many bytes of the row lie in its page ("B-tree Pages": X, M and K)."""
        most = self.usable - 35 if is_table else (self.usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        least = (self.usable - 12) * 32 // 255 - 23
        wanted = least + (length - least) % (self.usable - 4)
        return wanted if wanted <= most else least


def _varint(page: bytes, place: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for _ in range(_MOST_VARINT_BYTES - 1):
        byte = page[place]
        place += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place
    value = value << 8 | page[place]
    return value - (1 << 64 if value >> 63 else 0), place + 1


def _header(page: bytes, place: int) -> tuple[list[int], int]:
    """The codes of the values, and where the first value begins."""
    size, at = _varint(page, place)
    end = place + size
    codes: list[int] = []
    while at < end and len(codes) <= _MOST_COLUMNS:
        code, at = _varint(page, at)
        codes.append(code)
    if at != end or not codes:
        raise ValueError("no header of a row")
    return codes, end


_NUMBER_LENGTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)


def _length_of(code: int) -> int:
    if 0 <= code < len(_NUMBER_LENGTHS):
        return _NUMBER_LENGTHS[code]
    if code < 12:
        raise ValueError("no code of a value")
    return (code - 12) // 2


def _kind_of(code: int) -> type:
    if code >= 12:
        return str if code % 2 else bytes
    return {0: _NONE, 7: float}.get(code, int)


def _value(code: int, raw: bytes) -> Value:
    if code >= 12:
        return _text(raw) if code % 2 else raw
    if code == 7:
        number: Any = struct.unpack(">d", raw)[0]
        return float(number)
    return {0: None, 8: 0, 9: 1}.get(code, int.from_bytes(raw, "big", signed=True))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
