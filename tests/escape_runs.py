"""Push random texts that try to command the terminal through everything that shows foreign text, and read
every byte that reaches a real pseudo-terminal: `python tests/escape_runs.py [--count 100000] [--seed 0]`.

The texts go in parts, each a start of every program, with texts that its number and the seed decide. With
`--record FILE` each part is written down when it has ended, and a second run goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
from hostile_text import TerminalCheck

TESTS = Path(__file__).parent
SIZE = (160, 100)
PROGRAMS = {"hostile_chat": 1.0, "hostile_commands": 0.5, "hostile_replay": 0.1}
"""And how many of the texts of a part each gets."""
SEEDS = 1_000
"""Between those of two runs: there are never so many parts."""


@dataclass
class Result:
    """What came of a run of one program."""

    check: TerminalCheck
    status: int | None
    written_bytes: int
    places: dict[str, list[int]] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    caught: dict[str, int] = field(default_factory=dict)
    drawn: dict[str, list[str]] = field(default_factory=dict)
    """By class of the screen or command: the places in which a text was seen there."""
    tried: list[str] = field(default_factory=list)
    """Commands that were run."""
    last: bytes = b""

    @property
    def taken(self) -> int:
        """How many texts there were."""
        return sum(map(len, self.places.values()))

    def seen_count(self, place: str) -> int:
        """How many of the texts of a place could be read on the screen."""
        return len(self.check.seen.intersection(self.places[place]))

    def seen_share(self, place: str) -> float:
        """The same as a part of all."""
        return self.seen_count(place) / len(self.places[place])

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


# --- many of them ---------------------------------------------------------------------------------------


def facts_of(result: Result, part: int, program: str, seconds: float) -> dict[str, Any]:
    """One line of the record."""
    return {
        **{"part": part, "program": program, "seconds": round(seconds, 1), "texts": result.taken},
        **{"written_bytes": result.written_bytes, "sequences": dict(result.check.sequences)},
        "places": {
            place: [len(numbers), result.seen_count(place), result.spent.get(place, 0.0)]
            for place, numbers in result.places.items()
        },
        "caught": {place: times for place, times in result.caught.items() if times},
        "drawn": result.drawn,
        "problems": result.problems,
    }


def run_parts(options: argparse.Namespace, done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The facts of each part and program that is wanted and not done yet."""
    have = {(facts["part"], facts["program"]) for facts in done}
    each = -(-options.count // options.parts)
    for part in range(options.first, options.last):
        for program in options.program or PROGRAMS:
            if (part, program) in have:
                continue
            begin_s = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                count = max(1, round(each * PROGRAMS[program]))
                seed = options.seed * SEEDS + part
                result = run(program, seed, count, Path(folder), options.places)
            yield facts_of(result, part, program, time.perf_counter() - begin_s)


def total_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All parts together."""
    total: dict[str, Any] = {"places": {}, "caught": Counter(), "drawn": {}, "problems": []}
    for name in ("texts", "written_bytes", "seconds"):
        total[name] = sum(facts[name] for facts in records)
    total["sequences"] = sum((Counter(facts["sequences"]) for facts in records), Counter[str]())
    for facts in records:
        for place, figures in facts["places"].items():
            before = total["places"].get((facts["program"], place), (0, 0, 0.0))
            pairs = zip(before, figures, strict=True)
            total["places"][facts["program"], place] = tuple(a + b for a, b in pairs)
        total["caught"].update(facts["caught"])
        for name, places in facts["drawn"].items():
            total["drawn"].setdefault(name, set()).update(places)
        total["problems"] += [
            f"part {facts['part']}, {facts['program']}: {problem}" for problem in facts["problems"]
        ]
    return total


def report(records: Sequence[Mapping[str, Any]], *, shows_table: bool) -> None:
    """Print what came of it, and the line that says it all."""
    total = total_of(records)
    for (program, place), (texts, seen, spent_s) in total["places"].items():
        print(f"  {program:17} {place:26} {texts:8,} texts {seen / texts:6.0%} seen {spent_s:8.1f} s")
    if shows_table:
        for name, places in sorted(total["drawn"].items()):
            print(f"  {name:42} {', '.join(sorted(filter(None, places)))}")
    for place, times in total["caught"].items():
        print(f"  second line: {place}: {times:,}")
    for problem in total["problems"]:
        print(f"FAILED {problem}")
    parts = len({facts["part"] for facts in records})
    print(
        f"{total['texts']:,} texts in {parts:,} parts, {total['seconds']:,.0f} s: "
        f"{total['written_bytes'] / 1e6:,.1f} MB with {sum(total['sequences'].values()):,} sequences, "
        f"{len(total['problems']):,} problems; {len(total['drawn']):,} classes and commands showed one."
    )


def main() -> int:
    """The exit status: 0 when nothing came through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="texts for the chat, in all parts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first part, from 0")
    parser.add_argument("--to", dest="last", type=int, default=None, help="behind the last part")
    parser.add_argument("--record", type=Path, help="a line of JSON a part; what is there is not redone")
    parser.add_argument("--program", action="append", choices=PROGRAMS, help="only this one")
    parser.add_argument("--table", action="store_true", help="show which class drew texts of which place")
    parser.add_argument("places", nargs="*", help="only these")
    options = parser.parse_args()
    options.last = options.parts if options.last is None else options.last
    records: list[dict[str, Any]] = []
    if options.record is not None and options.record.exists():
        records = [json.loads(line) for line in options.record.read_text().splitlines()]
    for facts in run_parts(options, records):
        records.append(facts)
        if options.record is not None:
            with options.record.open("a") as file:
                file.write(json.dumps(facts) + "\n")
        told = f"{facts['texts']:,} texts, {facts['seconds']} s, {len(facts['problems'])} problems"
        print(f"part {facts['part']} {facts['program']}: {told}", file=sys.stderr, flush=True)
    report(records, shows_table=options.table)
    return 1 if any(facts["problems"] for facts in records) else 0


if __name__ == "__main__":
    sys.exit(main())
