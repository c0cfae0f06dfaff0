"""The packed layers once more in 16 bits, in a file of the cache folder: for prompts of many tokens.

A 4-bit product takes 3 times as long as one in bf16 where there are 64 rows, and unpacking for each costs as
much as it saves. In memory the second copy would be four times the first: so it is mapped, and the pages of
a matrix are given back when it was read, which takes 5 to 8 % of the time and leaves 460 MB where there would
be 667. A prompt of 512 tokens, default model: 430 tokens a second packed, 1,100 so (2 cores with AMX,
2026-11-22).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch

from llama_chat.engine.files.gguf_model import hash_ends
from llama_chat.engine.files.safetensors import SafetensorsFile
from llama_chat.engine.model import Llama
from llama_chat.engine.quantize import Int4Linear, Int4Matrix, MappedMatrix
from llama_chat.errors import ModelError
from llama_chat.paths import make_private_folder, replacing

LARGEST_BYTES = 4 << 30
"""A larger copy is not made: it would come from the disk for every prompt."""

KEPT_FILES = 4
"""The files used last; older ones are removed when one is made."""

SHARE_OF_FREE = 0.25
"""Of the free disk that a file may take: conversations need some, too."""

_FORMAT = "unpacked-1"
_ALIGNED = 64
_ENDING = ".safetensors"
_log = logging.getLogger(__name__)


class UnpackedLayers:
    """The 16-bit copies of a network's 4-bit matrices: found, or made on a thread, and then beside each.

    Args:
        folder: where they are kept; made if need be.
        fingerprint: of the weights.
        linears: the network's 4-bit products by the names of their modules.
        matrices: what those were made of.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        linears: Mapping[str, Int4Linear],
        matrices: Mapping[str, Int4Matrix],
    ) -> None:
        self._folder = folder
        self._linears = linears
        self._matrices = matrices
        shapes = [(name, matrices[name].shape) for name in linears]
        self._key = hashlib.sha256(json.dumps([_FORMAT, fingerprint, shapes]).encode()).hexdigest()[:16]
        self._is_there = False
        self._has_failed = False
        self._thread: threading.Thread | None = None
        self._may_work = threading.Event()
        self._may_work.set()
        self._is_closed = False

    @property
    def is_being_made(self) -> bool:
        """Whether the thread is at it."""
        return self._thread is not None and self._thread.is_alive()

    def look(self) -> bool:
        """Whether they are there, found or made meanwhile."""
        if not self._is_there and not self._has_failed and not self.is_being_made:
            try:
                file = _find(self._folder, self._key)
                if file is not None:
                    for name, linear in self._linears.items():
                        linear.dense = MappedMatrix(file.values(name), partial(file.forget, name))
                    self._is_there = True
            except (OSError, ModelError) as error:
                self._fail(error)
        return self._is_there

    def use(self, is_used: bool) -> None:
        """Multiply many rows with the copies, or with the packed matrices."""
        for linear in self._linears.values():
            linear.uses_dense = is_used

    def make(self, *, waits: bool = False) -> None:
        """Have them made by a thread, if they are not there; never fails.

        Args:
            waits: come back when they are made; otherwise at once.
        """
        if self.look() or self._has_failed:
            return
        if not self.is_being_made:
            self._thread = threading.Thread(target=self._make, name="llama-chat unpacking", daemon=True)
            self._thread.start()
        if waits and self._thread is not None:
            self._thread.join()

    def pause(self) -> None:
        """Let the thread wait with its next slice: a reply needs the processor."""
        self._may_work.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._may_work.set()

    def close(self) -> None:
        """Give it up, where it is being made."""
        self._is_closed = True
        self._may_work.set()
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        try:
            make_private_folder(self._folder)
            _remove_old(self._folder)
            path = self._folder / f"{self._key}-{os.getpid()}.new"
            nbytes = sum(prod(matrix.shape) for matrix in self._matrices.values()) * torch.bfloat16.itemsize
            if nbytes > SHARE_OF_FREE * shutil.disk_usage(self._folder).free:
                raise OSError(f"there is too little free disk for {nbytes:,} bytes more")
            with replacing(path) as out:
                self._write(out)
            path.replace(self._folder / f"{self._key}-{_digest(SafetensorsFile(path))}{_ENDING}")
        except _GivenUpError:
            pass
        except (OSError, ModelError, RuntimeError, MemoryError) as error:  # nobody else would hear of it
            self._fail(error)

    def _write(self, out: BinaryIO) -> None:
        matrices = {name: self._matrices[name] for name in self._linears}
        header = json.dumps(dict(_entries(matrices))).encode()
        header += b" " * (-(8 + len(header)) % _ALIGNED)
        out.write(len(header).to_bytes(8, "little") + header)
        for matrix in matrices.values():
            for part in matrix.slices():
                self._may_work.wait()
                if self._is_closed:
                    raise _GivenUpError
                out.write(part.dense().bfloat16().view(torch.uint8).numpy().data)

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        _log.warning("prompts are multiplied in 4 bits: %s", error)


class _GivenUpError(Exception):
    """The network is closed while its copies are made."""


def unpacked_layers(
    folder: Path, fingerprint: str, llama: Llama, matrices: Mapping[str, Int4Matrix]
) -> UnpackedLayers | None:
    """The copies of the network's 4-bit matrices; None where there can be none: it has others, or too large.

    Args:
        folder: where they are kept.
        fingerprint: of the weights.
        llama: the network.
        matrices: what its 4-bit products were made of, by the names of their modules.
    """
    linears = {name: module for name, module in llama.named_modules() if isinstance(module, Int4Linear)}
    if not linears or not linears.keys() <= matrices.keys():
        return None
    nbytes = sum(prod(matrices[name].shape) for name in linears) * torch.bfloat16.itemsize
    return UnpackedLayers(folder, fingerprint, linears, matrices) if nbytes <= LARGEST_BYTES else None


def _find(folder: Path, key: str) -> SafetensorsFile | None:
    """The file, if both ends of each tensor are what they were when it was written."""
    for path in folder.glob(f"{key}-*{_ENDING}"):
        with suppress(OSError, ModelError):
            file = SafetensorsFile(path)
            if path.stem.endswith(_digest(file)):
                with suppress(OSError):
                    path.touch()
                return file
        with suppress(OSError):
            path.unlink()
    return None


def _digest(file: SafetensorsFile) -> str:
    digest = hashlib.sha256()
    places = [(info.offset, info.nbytes) for info in file.tensors.values()]
    hash_ends(digest, file.path, file.header_bytes, places)
    return digest.hexdigest()[:16]


def _remove_old(folder: Path) -> None:
    """All but the files used last, and what programs left that were killed a day ago or longer."""
    files = sorted(folder.glob(f"*{_ENDING}"), key=lambda path: path.stat().st_mtime)
    unfinished = (*folder.glob("*.new"), *folder.glob(".*.part"))
    left = [path for path in unfinished if path.stat().st_mtime < time.time() - 86_400]
    for path in [*files[: max(0, len(files) - KEPT_FILES + 1)], *left]:
        with suppress(OSError):
            path.unlink()


def _entries(matrices: Mapping[str, Int4Matrix]) -> Iterator[tuple[str, object]]:
    at = 0
    for name, matrix in matrices.items():
        end = at + prod(matrix.shape) * torch.bfloat16.itemsize
        yield name, {"dtype": "BF16", "shape": list(matrix.shape), "data_offsets": [at, end]}
        at = end
