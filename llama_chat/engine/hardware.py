"""What the machine says of itself without torch: its processor, its memory, its graphics cards.

Everything is read below one folder, `/` but in tests, and looked up by one function.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_VENDORS = {0x1002: "AMD", 0x10DE: "NVIDIA", 0x8086: "Intel"}
# First bytes of the numbers of Intel's GPUs that torch can use (Linux, drm/intel/pciids.h): Data Center Max,
# Arc A and Flex, Core Ultra (three generations), Arc B. In other Intel processors sits a GPU that it cannot.
_INTEL_FAMILIES = frozenset({0x0B, 0x56, 0x7D, 0x64, 0xB0, 0xE2})
_TOOLS = {"AMD": "rocminfo", "NVIDIA": "nvidia-smi"}

# Those that decide how fast products of bf16 and of few bits are.
_INSTRUCTION_SETS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16", "amx_int8": "AMX INT8",
    "asimd": "NEON", "asimddp": "dot product", "bf16": "BF16", "i8mm": "I8MM", "sve": "SVE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory; None where the system does not say."""

    total_bytes: int | None
    free_bytes: int | None
    """What programs can still have, a container's limit considered."""
    is_limited: bool = False
    """Whether a limit of the container counts, not the machine."""


@dataclass(frozen=True, slots=True)
class Processor:
    """The CPU."""

    name: str
    cores: int
    """Those that this program may use."""
    instruction_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine as its files describe it.

    Attributes:
        root: where they lie.
        which: finds a program, as `shutil.which` does.
    """

    root: Path = Path("/")
    which: Callable[[str], str | None] = field(default=shutil.which)

    def gpu_vendors(self) -> tuple[str, ...]:
        """Who made the graphics cards that the system sees: `AMD`, `NVIDIA`, `Intel`; each once.

        Of Intel's only those count that torch can use. Where the system keeps no list of them (WSL, macOS,
        Windows), the vendors' own tools tell.
        """
        found = dict.fromkeys(self._listed_vendors())
        if not found:
            found = dict.fromkeys(vendor for vendor, tool in _TOOLS.items() if self.which(tool))
        return tuple(found)

    def _listed_vendors(self) -> Iterator[str]:
        for path in sorted(self.root.glob("sys/class/drm/card*/device/vendor")):
            vendor = _VENDORS.get(_number(path))
            if vendor and (vendor != "Intel" or _number(path.with_name("device")) >> 8 in _INTEL_FAMILIES):
                yield vendor

    def has_device_file(self, name: str) -> bool | None:
        """Whether `/dev/NAME` can be used; None where it is not there."""
        path = self.root / "dev" / name
        return os.access(path, os.R_OK | os.W_OK) if path.exists() else None

    def processor(self) -> Processor:
        """The CPU's name, usable cores and the instruction sets that count here."""
        pairs = _pairs(_read(self.root / "proc/cpuinfo"))
        flags = set((pairs.get("flags") or pairs.get("Features") or "").split())
        sets = tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)
        return Processor(pairs.get("model name") or _platform_name(), usable_cores(), sets)

    def processor_signature(self) -> str:
        """The CPU's name and all its instructions: code compiled for it runs on one with the same."""
        pairs = _pairs(_read(self.root / "proc/cpuinfo"))
        flags = sorted((pairs.get("flags") or pairs.get("Features") or "").split())
        return " ".join((pairs.get("model name") or _platform_name(), *flags))

    def memory(self) -> Memory:
        """Main memory, and how much of it can still be had."""
        pairs = _pairs(_read(self.root / "proc/meminfo"))
        total, free = _kibibytes(pairs.get("MemTotal")), _kibibytes(pairs.get("MemAvailable"))
        if total is None:
            total = _physical_memory()
        limit = self._control_group()
        if limit is None or (total is not None and limit[0] >= total):
            return Memory(total, free)
        return Memory(limit[0], limit[1] if free is None else min(free, limit[1]), is_limited=True)

    def _control_group(self) -> tuple[int, int] | None:
        """The tightest limit of this process's groups and what is left of it, in bytes; None without."""
        found = [group for folder in self._control_folders() if (group := _group_limit(folder)) is not None]
        return min(found, key=lambda group: group[1]) if found else None

    def _control_folders(self) -> Iterator[Path]:
        """The folders of this process's memory group and of those around it."""
        for line in _read(self.root / "proc/self/cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if controllers not in ("", "memory"):
                continue
            top = self.root / "sys/fs/cgroup" / controllers
            inner = Path(path.lstrip("/"))
            if ".." in inner.parts:
                continue
            for part in (inner, *inner.parents):
                yield top / part


def usable_cores() -> int:
    """Processor cores that this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(path: Path) -> int:
    """The hexadecimal number in the file; 0 where there is none."""
    try:
        return int(_read(path), 16)
    except ValueError:
        return 0


def _read(path: Path) -> str:
    """The file's text; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _pairs(text: str) -> dict[str, str]:
    """The first value of each `key: value` line."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _kibibytes(value: str | None) -> int | None:
    number = (value or "").partition(" ")[0]
    return int(number) * 1024 if number.isdigit() else None


def _group_limit(folder: Path) -> tuple[int, int] | None:
    """A memory group's limit and what is left of it (cgroup v2, then v1); cached files count as left."""
    names = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for limit_name, usage_name, cached_name in names:
        limit, usage = _read(folder / limit_name).strip(), _read(folder / usage_name).strip()
        if limit.isdigit() and usage.isdigit():
            stat = dict(
                line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines() if " " in line
            )
            cached = stat.get(cached_name, "0").strip()
            used = int(usage) - (int(cached) if cached.isdigit() else 0)
            return int(limit), max(0, int(limit) - used)
    return None


def _physical_memory() -> int | None:
    """For systems without /proc."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _platform_name() -> str:
    import platform  # 10 ms; needed for macOS and Windows only

    return platform.processor() or platform.machine() or "unknown processor"
