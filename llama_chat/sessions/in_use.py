"""Who has the file open: so that a damaged one is not moved away from under another chat."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PAUSE_S = 0.02


class InUse:
    """A lock file beside the store, shared by all who have it open; the system gives it back at their death.

    Where there is no such lock (Windows), the system itself refuses to move an open file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._handle: int | None = None

    def enter(self, patience_s: float) -> bool:
        """Say that this process has the store open; False when somebody wanted to be alone all that time.

        A disk that refuses the lock file is no reason not to open the store.
        """
        if self._handle is not None:
            return True
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(OSError):
            self._handle = handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            while not _is_locked(handle, exclusive=False):
                if time.monotonic() > deadline:
                    self.leave()
                    return False
                time.sleep(_PAUSE_S)
        return True

    def leave(self) -> None:
        """Say that it has not."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else has the store open; as long as this lasts, nobody enters."""
        self.leave()
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _is_locked(handle, exclusive=True)
        finally:
            os.close(handle)


if sys.platform == "win32":

    def _is_locked(handle: int, *, exclusive: bool) -> bool:  # noqa: ARG001  (as below)
        return True

else:
    import fcntl

    def _is_locked(handle: int, *, exclusive: bool) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
