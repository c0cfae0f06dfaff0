"""Two processes share the tests file by file; those that must be alone are, at the end."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("xdist")
from sharing import ALONE, AloneAtTheEnd

FILES = {"test_a.py": 5, "test_b.py": 3, "test_c.py": 4, "test_d.py": 1}
CLOCKS = [f"tests/test_a.py::test_clock[{n}@x]@{ALONE}" for n in range(3)]
ALL = [f"tests/{name}::test_{n}[a@b]" for name, count in FILES.items() for n in range(count)] + CLOCKS


class Worker:
    """One of the processes: does the tests in order, the last one only when it hears that it is the last."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.done: list[str] = []
        self.shutting_down = False
        self.gateway = SimpleNamespace(id="gw")

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def is_able(self) -> bool:
        return len(self.given) > (0 if self.shutting_down else 1)


def shared_by(count: int) -> list[Worker]:
    """All tests done by so many processes, one test each in turn."""
    option = SimpleNamespace(loadscopereorder=True)
    config: Any = SimpleNamespace(option=option, getvalue=lambda name: ["popen"] * count)
    scheduler = AloneAtTheEnd(config)
    workers: list[Any] = [Worker() for _ in range(count)]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, ALL)
    scheduler.schedule()
    while able := [worker for worker in workers if worker.is_able]:
        for worker in able:
            index = worker.given.pop(0)
            worker.done.append(ALL[index])
            scheduler.mark_test_complete(worker, index)
    assert not scheduler.has_pending
    return workers


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_test_is_done_once(count: int) -> None:
    assert sorted(test for worker in shared_by(count) for test in worker.done) == sorted(ALL)


@pytest.mark.parametrize("count", [2, 3])
def test_a_file_is_done_by_one_process(count: int) -> None:
    files = [
        {test.split("::")[0] for test in worker.done if test not in CLOCKS} for worker in shared_by(count)
    ]
    assert sum(map(len, files)) == len(FILES)
    assert all(files)


@pytest.mark.parametrize("count", [2, 3])
def test_what_must_be_alone_comes_last_in_the_process_that_is_left(count: int) -> None:
    workers = shared_by(count)
    (last,) = [worker for worker in workers if set(worker.done) & set(CLOCKS)]
    assert last.done[-len(CLOCKS) :] == CLOCKS
    assert all(worker.shutting_down for worker in workers)
