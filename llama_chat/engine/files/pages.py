"""Files mapped into memory, and the memory that they take: given back as soon as what was read is copied."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import stat
import sys
from pathlib import Path

from llama_chat.catalogue import GIVE_A_MODEL
from llama_chat.engine.files.checkpoint import DAMAGED, unreadable
from llama_chat.errors import ModelError

_LFS_POINTER = b"version https://git-lfs.github.com/"
_NORESERVE = {"x86_64": 0x4000, "aarch64": 0x4000, "riscv64": 0x4000}
"""Linux's MAP_NORESERVE, which Python names from 3.13 on only."""


def map_file(path: Path) -> mmap.mmap:
    """The whole file, mapped, not read.

    Raises:
        ModelError: it cannot be read, is empty, or only stands for a file that Git LFS keeps elsewhere.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting for ever
            raise ModelError(f"{path}: cannot be read: it is no ordinary file", hint=GIVE_A_MODEL)
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ModelError(f"{path}: cannot be read: the file is empty", hint=DAMAGED)
            mapped = _map_privately(file.fileno())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if mapped[: len(_LFS_POINTER)] == _LFS_POINTER:
        raise ModelError(
            f"{path.name}: only a pointer to the real file, which Git LFS did not fetch",
            hint="Run `git lfs pull` in its folder.",
        )
    return mapped


def _map_privately(descriptor: int) -> mmap.mmap:
    """A copy-on-write map: torch wants writable memory, and nothing is ever written.

    Linux sets memory aside for what could be written there, and so refuses a file larger than memory and
    swap ("Cannot allocate memory"), unless it is asked not to.
    """
    if sys.platform == "linux":
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", _NORESERVE.get(platform.machine(), 0))
        return mmap.mmap(descriptor, 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    else:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)


def forget_pages(address: int, nbytes: int) -> None:
    """Let the system drop the whole pages in that stretch of a mapped file; they are read again if wanted.

    Without this a load counts every byte twice: once as page of the file, once as weight. Only for private
    maps of files that nobody wrote to: what was written there is lost. Does nothing but on Linux.
    """
    if not sys.platform.startswith("linux"):
        return
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (address + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if stop > start:
        _madvise(start, stop - start, mmap.MADV_DONTNEED)


def _madvise(address: int, nbytes: int, advice: int) -> None:
    call = ctypes.CDLL(None).madvise
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    call(address, nbytes, advice)  # refused: then the pages stay, which is no harm
