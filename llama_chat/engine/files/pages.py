"""Memory that mapped files take: given back as soon as what was read has been copied."""

from __future__ import annotations

import ctypes
import mmap
import sys


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
