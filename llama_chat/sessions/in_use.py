"""Who has the file open: so that a damaged one is not moved away from under another chat."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


class InUse:
    """A lock file beside the store, shared by all who have it open; the system gives it back at their death.

    Where there is no such lock (Windows), the system itself refuses to move an open file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._handle: int | None = None

    def enter(self) -> None:
        """Say that this process has the store open; a disk that refuses it is no reason not to open it."""
        if self._handle is None:
            with contextlib.suppress(OSError):
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                _lock(self._handle, exclusive=False)

    def leave(self) -> None:
        """Say that it has not."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else has the store open; as long as this lasts, nobody enters."""
        self.leave()
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                _lock(handle, exclusive=True)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)


if sys.platform == "win32":

    def _lock(handle: int, *, exclusive: bool) -> None:
        pass

else:
    import fcntl

    def _lock(handle: int, *, exclusive: bool) -> None:
        # A shared lock may have to wait for a recovery, which moves the file that is to be opened.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
