"""Where compiled layers are kept: a folder with the code of each and a file that says what it must be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.paths import write_atomically

if TYPE_CHECKING:
    from llama_chat.engine.fused.spec import Part

KEPT_DAYS = 90
"""What was not used for so long goes when something is made: another torch or another processor made it."""

WORK_PREFIX = "build-"
"""Of the folders in which something is being made."""

_LEFT_AFTER_S = 86_400


class StepShelf:
    """The compiled layers in a folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> Mapping[str, Path] | None:
        """The code of that name by its parts (`spec.Part`); None where it is not there as it was made.

        Loading a shared object runs it, and one that was cut ends the process: so every byte is checked, and
        none is taken that somebody else could have put there.
        """
        about = self.folder / f"{name}.json"
        found = {}
        try:
            if not _is_ours_alone(self.folder):
                return None
            for part, wanted in json.loads(about.read_bytes())["sha256"].items():
                found[part] = self._code(name, part)
                if not _is_ours_alone(found[part]):
                    return None
                if hashlib.sha256(found[part].read_bytes()).hexdigest() != wanted:
                    return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        with contextlib.suppress(OSError):
            os.utime(about)
        return found

    def keep(self, name: str, code: Mapping[Part, bytes], seconds: float) -> None:
        """Put the code and then what describes it into the folder; without the description it does not count.

        Raises:
            OSError: the folder or the disk does not take it.
        """
        for part, content in code.items():
            write_atomically(self._code(name, part), content, mode=0o700)
        sums = {part: hashlib.sha256(content).hexdigest() for part, content in code.items()}
        about = {"sha256": sums, "seconds": round(seconds, 1)}
        write_atomically(self.folder / f"{name}.json", json.dumps(about).encode())

    def _code(self, name: str, part: str) -> Path:
        return self.folder / f"{name}-{Path(part).name}.so"

    def clear_old(self) -> None:
        """Remove what was not used for a long time, and what a process that was killed left."""
        oldest_s = time.time() - KEPT_DAYS * 86_400
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()
                    for code in self.folder.glob(f"{path.stem}-*.so"):
                        code.unlink()
        for path in self.folder.glob(f"{WORK_PREFIX}*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _LEFT_AFTER_S:
                    shutil.rmtree(path)


def _is_ours_alone(path: Path) -> bool:
    """Whether nobody else owns it or may write it; Windows keeps the user's folders apart by itself."""
    if os.name != "posix":
        return True
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022
