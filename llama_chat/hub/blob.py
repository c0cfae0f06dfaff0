"""One file on its way into the Hub's cache: it grows under another name until it is whole."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TypeAlias

from llama_chat.errors import Interrupted, PullError
from llama_chat.hub.aside import KEPT
from llama_chat.hub.cache import PARTIAL_ENDING
from llama_chat.hub.client import ConnectionBroke, Download, RemoteFile

CHUNK_BYTES = 1 << 20
TRIES = 5
"""How often in a row nothing may come before it is given up."""
RETRY_S = 1.0

OpenDownload: TypeAlias = Callable[[RemoteFile, int], AbstractContextManager[Download]]
"""The file's bytes from a place on."""
Count: TypeAlias = Callable[[int], None]
"""Called with how many bytes of the file are here."""


class Blob:
    """A file of a repository and what is here of it.

    Args:
        file: what it must be.
        blobs: the cache's folder for it.
        stop: is looked at between two pieces.
    """

    def __init__(self, file: RemoteFile, blobs: Path, stop: threading.Event) -> None:
        self.file, self._stop = file, stop
        self.path = blobs / file.blob
        self.partial = blobs / f"{file.blob}{PARTIAL_ENDING}"
        self._digest = _new_digest(file)

    @property
    def partial_bytes(self) -> int:
        """How much an earlier fetch left."""
        try:
            return self.partial.stat().st_size
        except OSError:
            return 0

    def read_partial(self, count: Count) -> None:
        """Take in what an earlier fetch left: the hash goes on from there."""
        if self.partial_bytes > self.file.size_bytes:
            self.partial.unlink()
            return
        with self.partial.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                self._check_stop()
                self._digest.update(chunk)
                count(source.tell())

    def fetch(self, open_download: OpenDownload, count: Count) -> None:
        """Bring what is missing, check all of it, and put it in its place.

        Raises:
            PullError: the content is not what it must be.
            ConnectionBroke: nothing came any more; what did come is kept.
            Interrupted: `stop` was set.
        """
        with self.partial.open("ab") as part:
            failures = 0
            while (before := part.tell()) < self.file.size_bytes:
                try:
                    self._receive(open_download, part, count)
                except ConnectionBroke:
                    failures = failures + 1 if part.tell() <= before else 1
                    if failures >= TRIES:
                        raise
                    self._stop.wait(RETRY_S)
            part.flush()
            os.fsync(part.fileno())
        self._check()
        self.partial.replace(self.path)

    def _receive(self, open_download: OpenDownload, part: IO[bytes], count: Count) -> None:
        """Add what one answer brings; from the beginning, where the server sends whole files only."""
        self._check_stop()
        asked = part.tell()
        with open_download(self.file, asked) as download:
            if download.start != asked:
                part.seek(0)
                part.truncate()
                self._digest = _new_digest(self.file)
            for chunk in download.chunks:
                self._check_stop()
                piece = chunk[: self.file.size_bytes - part.tell()]
                part.write(piece)
                self._digest.update(piece)
                count(part.tell())
                if len(piece) < len(chunk):
                    break  # more than was listed: the hash will tell
        if part.tell() <= asked:
            raise ConnectionBroke("the server sent nothing")

    def _check(self) -> None:
        if self._digest.hexdigest() == self.file.blob:
            return
        self.partial.unlink()
        raise PullError(
            f"{self.file.name} is not what it must be: another hash than {self.file.blob[:16]}….",
            hint="Pull again: that file begins anew, the others are kept.",
        )

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Interrupted(KEPT)


def _new_digest(file: RemoteFile) -> hashlib._Hash:
    """SHA-256 for files stored apart from git, else git's own: SHA-1 over a header and the content."""
    if len(file.blob) == hashlib.sha256().digest_size * 2:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
