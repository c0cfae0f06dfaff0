"""Text files that go along with a message: which path is meant, and what is in it, or why it cannot go."""

from __future__ import annotations

import codecs
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from llama_chat.chat.prompt.written import without_controls
from llama_chat.errors import LlamaChatError
from llama_chat.markup.attached import block_of
from llama_chat.sanitize import one_line
from llama_chat.units import bytes_text

MOST_BYTES = 1_000_000
"""Beyond any context that fits a small machine: 1 MB of English has about 250,000 tokens."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = (
    (stat.S_ISDIR, "a folder", "Its files can be attached one by one."),
    (stat.S_ISFIFO, "a pipe", "Only files can be attached."),
    (stat.S_ISSOCK, "a socket", "Only files can be attached."),
    (stat.S_ISCHR, "a device", "Only files can be attached."),
    (stat.S_ISBLK, "a device", "Only files can be attached."),
)


class AttachError(LlamaChatError):
    """A file cannot go along with a message."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file as it was when it was attached."""

    path: Path
    name: str
    """As the message calls it: below the working folder from there on, else without its folder."""
    text: str
    size_bytes: int

    @property
    def block(self) -> str:
        """What the model is given."""
        return block_of(self.name, self.text)


def read_attachment(path: Path) -> Attachment:
    """The file. May wait for a disk, never for a pipe or a device.

    Raises:
        AttachError: it is not there, no file, too large, empty or not text.
    """
    shown = one_line(path.name or str(path))
    try:
        status = path.stat()
        for is_kind, kind, hint in _KINDS:
            if is_kind(status.st_mode):
                raise AttachError(f"{shown} is {kind}.", hint=hint)
        raw = _read(path, shown)
    except FileNotFoundError:
        raise AttachError(f"There is no file {one_line(str(path))}.") from None
    except PermissionError:
        raise AttachError(f"{shown} may not be read by you.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise AttachError(f"{shown} cannot be read: {reason}.") from error
    text = without_controls(_decoded(raw, shown))
    if not text.strip():
        raise AttachError(f"{shown} is empty.")
    return Attachment(path, name_of(path), text, len(raw))


def name_of(path: Path) -> str:
    """The name that a message has for the file: safe, and in one line."""
    try:
        below = path.absolute().relative_to(Path.cwd())
    except (OSError, ValueError):
        below = Path(path.name)
    return one_line(below.as_posix()) or "file"


def _read(path: Path, shown: str) -> bytes:
    # Not blocking: it may have become a pipe since.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:  # noqa: PTH123  (a handle has no path)
        size_bytes = os.fstat(handle).st_size
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise AttachError(
            f"{shown} has {bytes_text(max(size_bytes, len(raw)))}; at most {bytes_text(MOST_BYTES)} can be "
            "attached.",
            hint="Paste the part that matters.",
        )
    return raw


def _decoded(raw: bytes, shown: str) -> str:
    try:
        if raw.startswith(_UTF16):
            return raw.decode("utf-16")
        if 0 in raw:
            raise AttachError(f"{shown} is not text: there is a NUL in it, at byte {raw.index(0):,}.")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AttachError(
            f"{shown} is not text in UTF-8: byte {error.start:,} is 0x{raw[error.start]:02X}.",
            hint="Convert it first, with iconv for example.",
        ) from None
