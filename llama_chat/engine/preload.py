"""Torch's libraries are mapped before `import torch`, so that the screen stands still for less long.

`import torch` holds the interpreter lock while its libraries are linked; a call through ctypes holds none.
The one stall of the screen was 361 to 408 ms without this and 261 to 349 ms with it, and `run` had its model
0.8 s earlier, since the file is read meanwhile (three runs taking turns on 2 busy cores, 2026-11-22).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Those without Python in them: whatever initialises itself with the interpreter must leave its lock alone.
_LIBRARIES = ("libc10.so", "libtorch_cpu.so")


@contextmanager
def mapping_torch() -> Iterator[None]:
    """Map the libraries on another thread, while something else is done; then wait for it."""
    thread = threading.Thread(target=map_torch, name="llama-chat preload", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def map_torch() -> bool:
    """Whether torch's libraries are in memory now; where they are not, `import torch` maps them."""
    if not sys.platform.startswith("linux") or "torch" in sys.modules:
        return False
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    folder = Path(spec.origin).parent / "lib"
    open_library = ctypes.CDLL(None).dlopen
    open_library.argtypes = (ctypes.c_char_p, ctypes.c_int)
    open_library.restype = ctypes.c_void_p
    flags = os.RTLD_LAZY | os.RTLD_LOCAL
    return all(open_library(os.fsencode(folder / name), flags) is not None for name in _LIBRARIES)
