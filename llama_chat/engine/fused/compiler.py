"""The C++ compiler that compiled code is made with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

COMPILERS = ("g++", "clang++", "c++") if sys.platform != "win32" else ("cl",)
"""That are looked for, after the one that `CXX` names."""

NO_COMPILER = f"there is no C++ compiler, such as {COMPILERS[0]}"


def find_compiler() -> str | None:
    """Its path; None where there is none."""
    names = (os.environ.get("CXX", ""), *COMPILERS)
    return next(filter(None, map(shutil.which, names)), None)


def signature_of(compiler: str) -> str:
    """Its place, size and date, which another one, or another version, does not have."""
    path = Path(compiler).resolve()
    try:
        found = path.stat()
    except OSError:
        return str(path)
    return f"{path} {found.st_size} {found.st_mtime_ns}"
