"""How much memory this process took at most."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int | None:
    """The most of main memory that the process had, with the files that it mapped and read; None: unknown."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return _most_by_rusage()
    # Not `ru_maxrss`, which a process inherits from the one that started it (Linux, exec.c).
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if kilobytes is None else int(kilobytes) * 1024


def _most_by_rusage() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_device_bytes(device: torch.device) -> int | None:
    """The most of the GPU's memory that torch gave out in this process; None on the CPU, or unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "xpu":
        return torch.xpu.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return None
