"""The first bytes of the file: whether they are ours, what is wrong with them, and set right in a copy.

SQLite refuses a file for one wrong byte there, though every row is whole (https://sqlite.org/fileformat2.html,
"The Database Header").
"""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

from llama_chat.sessions.migrations import APPLICATION_ID

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_USUAL_PAGE_BYTES = 4096
_LOG_HEADER_BYTES = 32
_SEARCHED_BYTES = 256 * 1024
_NAMES = (b"CREATE TABLE sessions", b"CREATE TABLE token_archives")
_LIKELY_VERSIONS = 10_000
"""A version of the store beyond this is no newer llama-chat but damage."""
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))


def header_damage(path: Path) -> str:
    """What is wrong with the header of a file that is ours; empty where nothing is, or it is not ours.

    For a file that was refused: a sound one may look like this for the moment in which it is written.
    """
    head = _head(path)
    if len(head) < _HEADER_BYTES or not _is_ours(head):
        return ""
    (schema_format, _, largest_root, encoding, version) = struct.unpack_from(">5I", head, 44)
    (application,) = struct.unpack_from(">I", head, 68)
    damages = {
        "its first bytes": head[:16] != _MAGIC,
        "its size of a page": _page_bytes_in(head) not in _PAGE_SIZES,
        "its way of writing": not set(head[18:20]) <= {1, 2},
        "its fractions of a page": bytes(head[20:24]) != bytes((0, 64, 32, 32)),
        "its form of the schema": schema_format > 4,
        "its largest root": largest_root != 0,
        "its encoding": encoding > 1,
        "its version": version > _LIKELY_VERSIONS or (version == 0 and _has_names(head)),
        "the id of the program": application != APPLICATION_ID,
    }
    return ", ".join(what for what, is_wrong in damages.items() if is_wrong)


def is_ours(path: Path) -> bool:
    """Whether the file says that it is a store of sessions, by its id or by the names of its tables."""
    return _is_ours(_head(path))


def mend_header(copy: Path) -> int:
    """Write into the header what every store has; the size of a page.

    A copy of less than a page becomes an empty page: SQLite would delete the log beside an empty file.

    Raises:
        OSError: it cannot be read or written.
    """
    head = bytearray(_head(copy)[:_HEADER_BYTES].ljust(_HEADER_BYTES, b"\0"))
    page_bytes = _page_bytes(copy, head)
    struct.pack_into(">16sHBBBBBB", head, 0, _MAGIC, page_bytes & 0xFFFF or 1, 2, 2, 0, 64, 32, 32)
    struct.pack_into(">I", head, 28, 0)  # pages: SQLite then asks the system
    struct.pack_into(">2I", head, 32, 0, 0)  # unused pages: nothing is going to be written
    (schema_format,) = struct.unpack_from(">I", head, 44)
    struct.pack_into(">I", head, 44, schema_format if 1 <= schema_format <= 4 else 4)
    struct.pack_into(">2I", head, 52, 0, 1)  # no moving of roots, UTF-8
    with copy.open("r+b") as file:
        file.write(head)
        if file.seek(0, 2) < page_bytes:
            file.truncate(page_bytes)
            file.seek(_HEADER_BYTES)
            file.write(struct.pack(">BHHHB", 0x0D, 0, 0, page_bytes & 0xFFFF, 0))
    return page_bytes


def identity_of(path: Path) -> tuple[int, int]:
    """Another one when another file takes this one's place."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def is_empty(path: Path) -> bool:
    """Whether the file is there and has no bytes."""
    with contextlib.suppress(OSError):
        return path.stat().st_size == 0
    return False


def emptied_notice(path: Path) -> str:
    """What the user is told of an empty file, where a backup may lie beside it."""
    told = f"{path} was empty: a power cut can do that. It is a new store now."
    backups = sorted(path.parent.glob(f"{path.name}.*.backup"), key=lambda backup: backup.stat().st_mtime)
    if not backups:
        return told
    day = time.strftime("%Y-%m-%d", time.localtime(backups[-1].stat().st_mtime))
    return (
        f"{told} A backup from {day} is beside it. To go back to it, end every llama-chat and copy "
        f"{backups[-1]} to {path}."
    )


def has_log(path: Path) -> bool:
    """Whether a log with something in it lies beside the file."""
    with contextlib.suppress(OSError):
        return Path(f"{path}-wal").stat().st_size > _LOG_HEADER_BYTES
    return False


def _head(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_SEARCHED_BYTES)
    return b""


def _is_ours(head: bytes) -> bool:
    return head[68:72] == APPLICATION_ID.to_bytes(4, "big") or _has_names(head)


def _has_names(head: bytes) -> bool:
    return all(name in head for name in _NAMES)


def _page_bytes_in(head: bytes | bytearray) -> int:
    (size,) = struct.unpack_from(">H", head, 16)
    return 65536 if size == 1 else int(size)


def _page_bytes(copy: Path, head: bytearray) -> int:
    """What the log says, else the header where it is whole, else what SQLite takes for a new file."""
    with contextlib.suppress(OSError, struct.error):
        with Path(f"{copy}-wal").open("rb") as log:
            (_, _, size) = struct.unpack(">3I", log.read(12))
        if size in _PAGE_SIZES:
            return int(size)
    size = _page_bytes_in(head)
    return size if head[:16] == _MAGIC and size in _PAGE_SIZES else _USUAL_PAGE_BYTES
