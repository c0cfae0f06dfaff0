"""A kept file read and checked while torch is imported; needs no torch itself.

The digest is over the whole file, so that no damaged byte becomes a wrong number. Of a file of more than
`WHOLE_BYTES` a page of each megabyte is taken, as much as shows a hole, a cut or another file.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_chat.engine.files.model import ModelFile
    from llama_chat.engine.hf.other_model import OtherModel

WHOLE_BYTES = 1 << 30
_AT_ONCE = 1 << 20
_SAMPLE = 4096

ENDING = ".safetensors"


class DataDigest:
    """The digest of a file's data, fed from its first byte to its last in parts of any length.

    Args:
        size: bytes of all the data.
    """

    def __init__(self, size: int) -> None:
        self._digest = hashlib.sha256()
        self._is_whole = size <= WHOLE_BYTES
        self._at = 0

    def update(self, part: memoryview) -> None:
        """The next bytes."""
        start, stop = self._at, self._at + len(part)
        self._at = stop
        if self._is_whole:
            self._digest.update(part)
            return
        for page in range(start - start % _AT_ONCE, stop, _AT_ONCE):
            if (first := max(page, start)) < (last := min(page + _SAMPLE, stop)):
                self._digest.update(part[first - start : last - start])

    def hexdigest(self) -> str:
        """Of what was fed."""
        return self._digest.hexdigest()


def digest_of_data(path: Path, start: int) -> str:
    """What the file's bytes from `start` on must give again: of all of them, or of samples of a large file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size - start
        digest = DataDigest(size)
        # Read, not mapped: pages that were only looked at would count as this program's memory.
        room = memoryview(bytearray(_AT_ONCE))
        file.seek(start)
        while count := file.readinto(room):
            digest.update(room[:count])
        return digest.hexdigest()


def data_start(path: Path) -> int:
    """Where the tensors begin, by the first eight bytes of a safetensors file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


class EarlyReading:
    """Digests of files that may be wanted soon, worked out on a thread of its own."""

    def __init__(self) -> None:
        self._threads: dict[Path, threading.Thread] = {}
        self._found: dict[Path, tuple[tuple[int, int], str]] = {}

    def begin(self, folder: Path, fingerprint: str) -> None:
        """Read what was kept of the model with that fingerprint; what fails is seen when it is wanted."""
        with suppress(OSError):
            found = sorted(folder.glob(f"{fingerprint}-*{ENDING}"), key=lambda path: path.stat().st_mtime)
            newest = found[-1] if found else None
            if newest is not None and newest not in self._threads:
                thread = threading.Thread(
                    target=self._read, args=(newest,), name="llama-chat packed weights", daemon=True
                )
                self._threads[newest] = thread
                thread.start()

    def _read(self, path: Path) -> None:
        with suppress(OSError):
            identity = _identity(path)
            self._found[path] = identity, digest_of_data(path, data_start(path))

    def digest(self, path: Path, start: int) -> str:
        """The digest of the file as it is now, read early or now.

        Raises:
            OSError: it cannot be read.
        """
        if (thread := self._threads.pop(path, None)) is not None:
            thread.join()
        identity, digest = self._found.pop(path, ((0, 0), ""))
        return digest if identity == _identity(path) else digest_of_data(path, start)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


EARLY = EarlyReading()
"""Of this process."""


FOLDER = "weights"
"""Of the cache folder."""


def read_kept_weights(model: ModelFile | OtherModel, cache_folder: Path | None) -> None:
    """Begin to read and check what is kept of the model, in the background."""
    from llama_chat.engine.files.model import ModelFile

    if cache_folder is not None and isinstance(model, ModelFile):
        with suppress(OSError):
            EARLY.begin(cache_folder / FOLDER, model.checkpoint.fingerprint())
