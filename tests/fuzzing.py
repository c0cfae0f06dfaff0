"""What the long runs on damaged files share: a limit of memory, and the command line."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SLOW_S = 5.0
MEMORY_LIMIT_BYTES = 2 << 30


def limit_memory(nbytes: int) -> bool:
    """Whether this process can take no more than that much above what it has now (POSIX only)."""
    try:
        import resource
    except ImportError:
        return False
    in_use = 0
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + nbytes, resource.RLIM_INFINITY))
    return True


def run(
    description: str | None, name: str, fuzz: Callable[[Path, int, int], tuple[dict[str, int], list[str]]]
) -> int:
    """The exit code of a run that the command line describes: 1 when a fault was found.

    Args:
        description: for `--help`.
        name: of the format, for the folder.
        fuzz: takes a folder, rounds and a seed; gives what came out how often, and the faults.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keeps the files that show a fault")
    options = parser.parse_args()
    limit_memory(MEMORY_LIMIT_BYTES)
    folder = options.folder or Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    counts, faults = fuzz(folder, options.rounds, options.seed)
    print(f"{counts['read']:,} read, {counts['refused']:,} refused, {len(faults)} faults", *faults, sep="\n")
    if faults:
        print(f"kept in {folder}")
    return 1 if faults else 0
