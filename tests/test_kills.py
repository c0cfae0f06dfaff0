"""A chat that is killed at a random moment keeps what was on the screen; `kill_runs.py` does it 200 times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals and SIGKILL are POSIX"),
]

SCRIPT = Path(__file__).with_name("kill_runs.py")


def start(*arguments: str) -> subprocess.Popen[str]:
    """In a process of its own, which forks and has no other threads."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), str(SCRIPT.parents[1])])}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_nothing_that_was_seen_is_lost_in_20_runs() -> None:
    halves = [start("--runs", "10", "--seed", seed) for seed in ("1000", "2000")]
    said = [half.communicate(timeout=240)[0] for half in halves]
    assert [half.returncode for half in halves] == [0, 0], "\n".join(said)
    for text in said:
        found = re.search(r"10 runs, (\d+) with a reply on the screen", text)
        assert found is not None
        assert int(found[1]) >= 8, text


def test_a_recorder_that_lets_paint_before_it_keeps_is_found_out() -> None:
    broken = start("--runs", "10", "--seed", "3000", "--paint-first")
    said, _ = broken.communicate(timeout=240)
    assert broken.returncode == 1, said
    assert re.search("the screen is not kept as it stood|characters that reached the terminal", said), said
