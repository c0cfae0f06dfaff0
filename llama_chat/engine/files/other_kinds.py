"""What a file is that is no model, in words: somebody may have saved a web page under a model's name."""

from __future__ import annotations

from collections.abc import Mapping

_KINDS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "packed by gzip",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89PNG": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"%PDF": "a PDF",
    b"\x7fELF": "a program",
    b"SQLite format": "a database (SQLite)",
    b"tjgg": "a GGML file, the format before GGUF",
    b"lmgg": "a GGML file, the format before GGUF",
    b"fmgg": "a GGML file, the format before GGUF",
    b"FUGG": "a GGUF file of a machine that has the other byte order",
}
_LOOKED_AT_BYTES = 1024


def kind_of(start: bytes) -> str:
    """The kind of a file by its first bytes: `a text file`; where nothing is known, those bytes."""
    start = start[:_LOOKED_AT_BYTES]
    for magic, kind in _KINDS.items():
        if start.startswith(magic):
            return kind
    if not start.strip(b"\0"):
        return "nothing but zeros"
    text = _text_of(start)
    if text is None:
        return f"something that begins with the bytes {start[:4].hex(' ')}"
    if text.startswith(("<!doctype html", "<html")):
        return "a web page"
    return "JSON" if text.startswith(("{", "[")) else "a text file"


def _text_of(start: bytes) -> str | None:
    """The lower-case text; None where it is none. A character may be cut at the end."""
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return None
        text = start[: error.start].decode("utf-8-sig")
    if not text or not all(char.isprintable() or char.isspace() for char in text):
        return None
    return text.strip().lower()
