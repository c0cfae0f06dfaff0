"""Work on a GPU that is recorded once and played from then on: one launch for all of its kernels.

By torch's recipe (its notes on CUDA graphs): the work runs a few times on a side stream, so that libraries
set themselves up; then it is recorded there, which computes nothing; then it is played. A graph holds
addresses: all that goes in and comes out lies in tensors that stay where they are. On AMD's GPUs torch makes
HIP graphs of the same calls.

Not tested on a GPU. So each graph is tried on the user's own before it counts:
played once, it must give what the work itself gives. (What the work gives is tried by `trial`.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

WARM_UP_RUNS = 2
"""Before a recording. They compute what is wanted, so nothing is done for nothing."""

AGREES = 0.01
"""Largest relative difference of what a graph gives; the same kernels should leave none."""

Work: TypeAlias = Callable[[], None]

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What a device records with."""

    def warm_up(self, work: Work) -> None:
        """Do the work where it will be recorded."""
        ...

    def record(self, work: Work) -> Work:
        """What does the same from now on; the work itself is not done yet.

        Raises:
            RuntimeError: something in it cannot be recorded.
        """
        ...


class CudaRecorder:
    """Records on a device that torch calls "cuda", AMD's among them.

    All graphs share one pool of memory: they are played one after the other, and nothing that lies there is
    read after its graph has ended.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> None:
        """Do the work on the side stream; what comes after it waits for it, but not the host."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        """The graph's replay, on whatever stream is current then."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            # Other threads may ask the driver something meanwhile, as the card of devices does.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                work()
        except BaseException:
            torch.cuda.set_stream(current)  # torch 2.13 leaves its own set where the end of a recording fails
            raise
        return graph.replay


class Capture:
    """Records for one device until it fails once; then work is done as it is."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.failure = ""
        """Why nothing is recorded any more; empty while it works."""

    def record(self, work: Work, result: Tensor, within: float = AGREES) -> Work | None:
        """What plays the work, and has played it once; None where that cannot be, which is logged once.

        Args:
            work: to be recorded.
            result: some of what it writes.
            within: as `agree` has it.
        """
        if self.failure:
            return None
        try:
            replay = self.recorder.record(work)
        except RuntimeError as error:  # torch's words for what a graph cannot hold
            self._fail(first_line(error))
            return None
        self.recorder.warm_up(work)
        wanted = result.clone()
        result.zero_()
        replay()
        if not agree(result, wanted, within):
            self._fail("played, it gives other numbers")
            return None
        return replay

    def _fail(self, why: str) -> None:
        self.failure = why
        _log.warning("the decode step cannot be recorded as a graph: %s", why)


def first_line(error: Exception) -> str:
    """What the error says, without what torch adds to it."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def agree(got: Tensor, wanted: Tensor, within: float) -> bool:
    """Whether the numbers differ by no more than that part, where they are numbers. The host waits."""
    got, wanted = (tensor.float().nan_to_num(0, 0, 0) for tensor in (got, wanted))
    return bool((got - wanted).norm() <= within * (wanted - wanted.mean()).norm())


class Recording:
    """Work that is done as it is at first, then recorded, then played.

    Args:
        work: reads and writes tensors that stay where they are; gives the same each time for the same input.
        result: some of what it writes, by which a graph is tried.
        capture: None never records.
        within: how far what is played may be off, as `agree` has it.
    """

    def __init__(self, work: Work, result: Tensor, capture: Capture | None, within: float = AGREES) -> None:
        self._work = work
        self._result = result
        self._capture = capture
        self._within = within
        self._runs = 0
        self._replay: Work | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether it is played."""
        return self._replay is not None

    def run(self) -> None:
        """Do the work, or play it."""
        capture = self._capture
        if self._replay is not None:
            self._replay()
        elif capture is None or capture.failure:
            self._work()
        elif self._runs < WARM_UP_RUNS:
            self._runs += 1
            capture.recorder.warm_up(self._work)
        else:
            self._replay = capture.record(self._work, self._result, self._within)
            if self._replay is None:
                self._work()


def capture_for(device: torch.device) -> Capture | None:
    """What records on the device; None where torch has no graphs for it, or cannot make one."""
    if device.type != "cuda":
        return None
    try:
        return Capture(CudaRecorder(device))
    except RuntimeError as error:
        _log.warning("decode steps are not recorded: %s", error)
        return None
