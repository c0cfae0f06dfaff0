"""Whose reply is this, and is that process still there? So that nobody calls a living reply interrupted.

A process number alone is not enough: it is given out again. With the boot id and the start time it names one
process for good. Both come from Linux' /proc; elsewhere the start time (Windows) or nothing but the number is
known, and a number that is in use again then counts as alive.

A process of another container cannot be seen and counts as dead. That heals: what it goes on to write is
taken, and its last record replaces the verdict.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Lease:
    """One process of one boot; an empty field could not be read."""

    pid: int
    boot_id: str
    started: str
    """When the process began, in the system's own unit; only equality means anything."""


def build_lease() -> Lease:
    """The lease of this process."""
    return Lease(os.getpid(), _boot_id(), _started(os.getpid()))


def is_alive(lease: Lease) -> bool:
    """Whether the process that took the lease still runs."""
    if lease.boot_id and lease.boot_id != _boot_id():
        return False
    if not _is_running(lease.pid):
        return False
    return not lease.started or lease.started == _started(lease.pid)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


if sys.platform == "win32":
    import ctypes

    _QUERY_LIMITED = 0x1000
    _STILL_ACTIVE = 259

    def _is_running(pid: int) -> bool:
        # os.kill(pid, 0) is no question on Windows: it ends the process or sends it Ctrl+C.
        handle = ctypes.windll.kernel32.OpenProcess(_QUERY_LIMITED, False, pid)
        if not handle:
            return False
        code = ctypes.c_ulong()
        ctypes.windll.kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
        ctypes.windll.kernel32.CloseHandle(handle)
        return code.value == _STILL_ACTIVE

    def _started(pid: int) -> str:
        handle = ctypes.windll.kernel32.OpenProcess(_QUERY_LIMITED, False, pid)
        if not handle:
            return ""
        times = [ctypes.c_ulonglong() for _ in range(4)]
        ctypes.windll.kernel32.GetProcessTimes(handle, *map(ctypes.byref, times))
        ctypes.windll.kernel32.CloseHandle(handle)
        return str(times[0].value)

else:

    def _is_running(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is there, and somebody else's
            return True
        return _state(pid) != "Z"

    def _stat_fields(pid: int) -> list[str]:
        """The fields of /proc/PID/stat after the name, which may hold spaces and brackets itself."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return []

    def _state(pid: int) -> str:
        return next(iter(_stat_fields(pid)), "")

    def _started(pid: int) -> str:
        fields = _stat_fields(pid)
        return fields[19] if len(fields) > 19 else ""
