"""What lies in a zip archive, as torch writes them: every record stored as it is, none compressed.

The directory at the end is checked before torch's own reader sees the file: counts and lengths against the
bytes that are there, records against each other, each against the header in front of it.

Layout: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import mmap

from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.errors import ModelError

MAGIC = b"PK\x03\x04"

# 405B has 1,138 tensors; a record takes about 100 bytes of directory.
MAX_RECORDS = 1 << 16
MAX_DIRECTORY_BYTES = 1 << 25

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 1 << 0
_STORED = 0
_ZIP64 = 0x0001
"""The extra field that has the lengths that 32 bits cannot hold."""


@dataclass(frozen=True, order=True, slots=True)
class Record:
    """One file in the archive."""

    name: str
    offset: int
    """Of its first byte, from the start of the archive."""
    nbytes: int


def read_directory(data: mmap, where: str) -> Mapping[str, Record]:
    """The records by name, in the order in which they lie.

    Args:
        data: the whole archive.
        where: its name, for errors.

    Raises:
        ModelError: it is no zip archive, a damaged one, or one that torch did not write.
    """
    count, start, size = _find_directory(data, where)
    records, end, previous = {}, 0, "the start"
    for header_at, record in sorted(_read_entries(data, count, start, size, where)):
        label = shown(record.name)
        if header_at < end:
            raise ModelError(f"{where}: {label} overlaps {previous}", hint=DAMAGED)
        if record.name in records:
            raise ModelError(f"{where}: {label} is there twice", hint=DAMAGED)
        end, previous = record.offset + record.nbytes, label
        if end > start:
            raise ModelError(f"{where}: {label} ends at byte {end:,}, past the records", hint=DAMAGED)
        records[record.name] = record
    return records


def _find_directory(data: mmap, where: str) -> tuple[int, int, int]:
    """How many entries the directory has, where it begins, and its length in bytes."""
    size = len(data)
    if size < _END.size:
        raise ModelError(f"{where}: has {size} bytes, too few for an archive", hint=DAMAGED)
    end_at = size - _END.size
    magic, *_, count, length, start, comment = _END.unpack_from(data, end_at)
    if magic != b"PK\x05\x06" or comment:
        raise ModelError(f"{where}: does not end as an archive that torch wrote", hint=DAMAGED)
    locator_at = end_at - _END64_LOCATOR.size
    if locator_at >= 0 and data[locator_at : locator_at + 4] == b"PK\x06\x07":
        at = _END64_LOCATOR.unpack_from(data, locator_at)[2]
        if at != locator_at - _END64.size or data[at : at + 4] != b"PK\x06\x06":
            raise ModelError(f"{where}: the end of the archive is damaged", hint=DAMAGED)
        *_, count, length, start = _END64.unpack_from(data, at)
        end_at = at
    if start + length != end_at or count > MAX_RECORDS or length > MAX_DIRECTORY_BYTES:
        raise ModelError(
            f"{where}: claims a directory of {count:,} records and {length:,} bytes at {start:,}, "
            f"but the file has {size:,}",
            hint=DAMAGED,
        )
    return count, start, length


def _read_entries(data: mmap, count: int, start: int, size: int, where: str) -> Iterator[tuple[int, Record]]:
    """Where each record's header lies, and the record."""
    at, end = start, start + size
    for n in range(count):
        if at + _ENTRY.size > end or data[at : at + 4] != b"PK\x01\x02":
            raise ModelError(f"{where}: the directory ends after {n} of {count} records", hint=DAMAGED)
        fields = _ENTRY.unpack_from(data, at)
        flags, method, packed, nbytes, name_bytes, extra_bytes, comment_bytes, header_at = (
            *(fields[i] for i in (3, 4, 8, 9, 10, 11, 12)),
            fields[16],
        )
        name_at = at + _ENTRY.size
        extra_at = name_at + name_bytes
        at = extra_at + extra_bytes + comment_bytes
        if at > end:
            raise ModelError(f"{where}: the directory ends inside record {n}", hint=DAMAGED)
        name = str(data[name_at:extra_at], "utf-8", "replace")
        extra = data[extra_at : extra_at + extra_bytes]
        nbytes, packed, header_at = _long(extra, (nbytes, packed, header_at), f"{where}: {shown(name)}")
        if method != _STORED or packed != nbytes or flags & _ENCRYPTED:
            raise ModelError(
                f"{where}: {shown(name)} is compressed or encrypted; torch's archives are neither",
                hint="Write it again with torch.save.",
            )
        yield header_at, Record(name, _data_offset(data, header_at, name, start, where), nbytes)


def _long(extra: bytes, short: tuple[int, int, int], where: str) -> list[int]:
    """The three numbers; those that are too large for 32 bits out of the extra fields."""
    found = list(short)
    if _MAX32 not in short:
        return found
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            wanted = [i for i, number in enumerate(short) if number == _MAX32]
            if length < 8 * len(wanted) or at + 4 + length > len(extra):
                break
            for i, number in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", extra, at + 4), strict=True):
                found[i] = number
            return found
        at += 4 + length
    raise ModelError(f"{where} lacks its length", hint=DAMAGED)


def _data_offset(data: mmap, header_at: int, name: str, directory_at: int, where: str) -> int:
    """Where the record's bytes begin, behind its own header, which must name it, too."""
    name_at = header_at + _LOCAL.size
    if name_at > directory_at or data[header_at : header_at + 4] != MAGIC:
        raise ModelError(f"{where}: {shown(name)} has no header at byte {header_at:,}", hint=DAMAGED)
    lengths: tuple[int, int] = _LOCAL.unpack_from(data, header_at)[-2:]
    name_bytes, extra_bytes = lengths
    if str(data[name_at : name_at + name_bytes], "utf-8", "replace") != name:
        raise ModelError(f"{where}: the header of {shown(name)} names something else", hint=DAMAGED)
    return name_at + name_bytes + extra_bytes
