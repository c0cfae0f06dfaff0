"""The folder of kept weights: what is found there, what is put there, and what goes when it is too much."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_chat.engine.hardware import Machine
from llama_chat.engine.packed.early import ENDING
from llama_chat.engine.packed.file import PackedTensors, read_packed, write_packed
from llama_chat.engine.precision import Precision
from llama_chat.errors import ModelError
from llama_chat.paths import make_private_folder

LIMIT_BYTES = 20_000_000_000
"""Of all files together; the one that was not used for longest goes first."""
SHARE_OF_FREE = 4
"""A file is kept where it takes at most a quarter of what is free on the disk."""
KEPT_DAYS = 90
"""What was not used for so long goes: another torch, another model."""

_log = logging.getLogger(__name__)


@cache
def _code_digest() -> str:
    """Of the code that builds weights: what another version built is not taken."""
    engine = Path(__file__).parent.parent
    digest = hashlib.sha256()
    rooms = [engine / "weights.py", engine / "precision.py", *sorted((engine / "quantize").glob("*.py"))]
    for path in (*rooms, *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kept_name(fingerprint: str, precision: Precision) -> str:
    """The name of the file: the model, and 12 digits of all else on which the layouts depend."""
    described = (
        _code_digest(),
        precision.kind,
        str(precision.compute),
        precision.device.type,
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        Machine().processor_signature(),
    )
    return f"{fingerprint}-{hashlib.sha256(repr(described).encode()).hexdigest()[:12]}"


class PackedShelf:
    """The kept files of a folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> PackedTensors | None:
        """What was kept under that name; None where there is nothing, or nothing sound, which is removed."""
        path = self.folder / f"{name}{ENDING}"
        try:
            if not path.exists():
                return None
            found = read_packed(path)
        except (ModelError, OSError, ValueError) as error:
            _log.warning("kept weights are built anew: %s", error)
            self.drop(name)
            return None
        with suppress(OSError):
            os.utime(path)
        return found

    def drop(self, name: str) -> None:
        """Remove that file."""
        with suppress(OSError):
            (self.folder / f"{name}{ENDING}").unlink()

    def keep(self, name: str, about: Any, tensors: Mapping[str, Tensor]) -> bool:
        """Put the tensors there under that name; whether that could be done. Never fails."""
        nbytes = sum(tensor.nbytes for tensor in tensors.values())
        try:
            make_private_folder(self.folder)
            self.clear(LIMIT_BYTES - nbytes)
            free_bytes = shutil.disk_usage(self.folder).free
            if nbytes > min(LIMIT_BYTES, free_bytes // SHARE_OF_FREE):
                _log.info("built weights are not kept: %d bytes, of which %d are free", nbytes, free_bytes)
                return False
            write_packed(self.folder / f"{name}{ENDING}", about, tensors)
        except (OSError, KeyError) as error:
            _log.warning("built weights are not kept: %s", error)
            return False
        return True

    def clear(self, limit_bytes: int) -> None:
        """Remove what was not used for long, and then the longest unused until so many bytes are left."""
        with suppress(OSError):
            found = sorted(((path.stat(), path) for path in self._files()), key=lambda one: -one[0].st_mtime)
            left_bytes, oldest_s = limit_bytes, time.time() - KEPT_DAYS * 86_400
            for stat, path in found:
                left_bytes -= stat.st_size
                if left_bytes < 0 or stat.st_mtime < oldest_s:
                    path.unlink()

    def _files(self) -> list[Path]:
        """Kept files, and what a write that was killed left an hour ago or longer."""
        hour_ago_s = time.time() - 3600
        parts = [path for path in self.folder.glob(".*.part") if path.stat().st_mtime < hour_ago_s]
        for path in parts:
            path.unlink()
        return list(self.folder.glob(f"*{ENDING}"))
