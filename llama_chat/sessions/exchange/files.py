"""Files with sessions, of whatever kind: told apart by how they begin."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from llama_chat.sessions.exchange.chatgpt import read_chatgpt
from llama_chat.sessions.exchange.fields import ExchangeError
from llama_chat.sessions.exchange.reading import read_jsonl
from llama_chat.sessions.exchange.records import FileSession
from llama_chat.sessions.records import SessionRecord

_LISTED = "conversations.json"
_MOST_UNPACKED_BYTES = 4_000_000_000
_SURELY_FINE_BYTES = 10_000_000
_MOST_RATIO = 100
"""Text packs to a fifth or a tenth; what packs to less than a hundredth is made to fill memories."""
_KINDS = "It takes JSONL that llama-chat exported, and ChatGPT's conversations.json or the .zip with it."


def read_sessions(path: Path) -> Iterator[SessionRecord]:
    """The sessions of an exported file, each checked as a whole; the tokens are read when they are asked for.

    Raises:
        ExchangeError: the file cannot be read, is of another program, or damaged; names the line.
    """
    return (session.record for session in read_file(path))


def read_file(path: Path, name: str = "", *, is_checked: bool = False) -> Iterator[FileSession]:
    """As `read_sessions`, with the tokens still packed.

    Args:
        path: the file.
        name: of the file in errors; without one, the path.
        is_checked: the packed tokens were looked into when the same file was read before.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
            file.seek(0)
            if start.startswith(b"PK\x03\x04"):
                with _listed_in_zip(file, name) as listed:
                    yield from read_chatgpt(listed, name)
            elif start.startswith(b"["):
                yield from read_chatgpt(file, name)
            elif start.startswith(b"{") or not start:
                yield from read_jsonl(file, path, name, is_checked=is_checked)
            else:
                raise ExchangeError(f"{name}, line 1: this is no export of sessions.", hint=_KINDS)
    except OSError as error:
        raise ExchangeError(f"{name} cannot be read: {error.strerror or error}.") from error


@contextmanager
def _listed_in_zip(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The `conversations.json` in the archive, unpacked as it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = [each for each in archive.namelist() if each.rpartition("/")[2] == _LISTED]
            if not found:
                raise ExchangeError(f"{name} holds no {_LISTED}.", hint=_KINDS)
            chosen = archive.getinfo(min(found, key=len))
            if chosen.file_size > _MOST_UNPACKED_BYTES:
                raise ExchangeError(f"{name}: its {_LISTED} is longer than {_MOST_UNPACKED_BYTES:,} bytes.")
            if chosen.file_size > max(_SURELY_FINE_BYTES, _MOST_RATIO * chosen.compress_size):
                raise ExchangeError(f"{name}: its {_LISTED} is packed to less than a hundredth; no text is.")
            with archive.open(chosen) as listed:
                yield cast(BinaryIO, listed)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise ExchangeError(f"{name} is a damaged archive ({error}).") from error
