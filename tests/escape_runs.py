"""Push random texts that try to command the terminal through everything that shows foreign text, and read
every byte that reaches a real pseudo-terminal: `python tests/escape_runs.py [--count 100000] [--seed 0]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
from hostile_text import TerminalCheck

TESTS = Path(__file__).parent
SIZE = (160, 100)
PROGRAMS = ("hostile_chat", "hostile_commands")


@dataclass
class Result:
    """What came of a run."""

    check: TerminalCheck
    status: int | None
    written_bytes: int
    places: dict[str, list[int]] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    caught: dict[str, int] = field(default_factory=dict)
    last: bytes = b""

    @property
    def taken(self) -> int:
        """How many texts there were."""
        return sum(map(len, self.places.values()))

    def seen_share(self, place: str) -> float:
        """How many of the texts of a place could be read on the screen."""
        numbers = self.places[place]
        return len(self.check.seen.intersection(numbers)) / len(numbers)

    @property
    def problems(self) -> list[str]:
        """Everything that must not be."""
        return [*self.failures, *self.check.problems]


def run(program: str, seed: int, count: int, folder: Path, places: Sequence[str] = ()) -> Result:
    """Run one of the programs on a terminal, and read what it writes."""
    told = folder / f"{program}-{seed}.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_CHAT_")}
    environment |= {
        "LLAMA_CHAT_HOME": str(folder / program),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }
    environment |= {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), "TEXTUAL_FPS": "500"}
    environment |= {"HOME": str(folder), "PYTHONUTF8": "1"}
    (folder / program).mkdir(exist_ok=True)
    child = pexpect.spawn(
        sys.executable,
        [str(TESTS / f"{program}.py"), str(seed), str(count), str(told), *places],
        env=environment,
        dimensions=SIZE[::-1],
        timeout=None,
        maxread=1 << 20,
    )
    check, written, last = TerminalCheck(SIZE), 0, b""
    try:
        while True:
            data = child.read_nonblocking(1 << 20, timeout=600)
            check.feed(data)
            written += len(data)
            last = (last + data)[-5_000:]
    except pexpect.EOF:
        check.end()
    finally:
        child.close(force=True)
    result = Result(check, child.exitstatus, written, last=last)
    if told.exists():
        for name, value in json.loads(told.read_text()).items():
            setattr(result, name, value)
    else:
        result.failures.append(f"the program ended without a result: {last[-3000:]!r}")
    return result


def report(result: Result) -> None:
    """Print what came of it."""
    print(f"{result.taken:,} texts, {result.written_bytes / 1e6:.1f} MB, {dict(result.check.sequences)}")
    for place, numbers in result.places.items():
        spent = result.spent.get(place, 0.0)
        print(f"  {place:28} {len(numbers):7,} texts {result.seen_share(place):6.0%} seen {spent:7.1f} s")
    for place, times in result.caught.items():
        if times:
            print(f"  second line: {place}: {times}")
    for place, times in result.caught.items():
        if not times and "-v" in sys.argv:
            print(f"     {place}")
    for problem in result.problems:
        print(f"FAILED {problem}")


def main() -> int:
    """The exit status: 0 when nothing came through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", action="append", choices=PROGRAMS, help="only this one")
    parser.add_argument("-v", action="store_true", help="show what the second line of defence has caught")
    parser.add_argument("places", nargs="*", help="only these")
    options = parser.parse_args()
    is_good = True
    for program in options.program or PROGRAMS:
        begin_s = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            result = run(program, options.seed, options.count, Path(folder), options.places)
        print(f"{program} in {time.perf_counter() - begin_s:.0f} s: ", end="")
        report(result)
        is_good &= not result.problems
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
