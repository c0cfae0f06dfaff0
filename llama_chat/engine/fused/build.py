"""Compiles one layer and the output product: `python -m llama_chat.engine.fused.build FOLDER PARENT`.

Which ones is told on stdin, as JSON.

A process of its own, at the lowest priority: the compiler takes 60 to 120 s and 500 MB, holds the interpreter
lock, and imports what nothing else needs. What it made lies in the folder when it ends with 0.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from torch import nn

    from llama_chat.engine.fused.spec import LayerSpec, Part

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Compile what stdin describes into the folder of the first argument."""
    if not end_with_parent(int(sys.argv[2])):
        _say_ready()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what is printed from now on nobody reads
    os.close(nowhere)
    from llama_chat.engine.fused.compiler import find_compiler
    from llama_chat.engine.fused.shelf import WORK_PREFIX, StepShelf
    from llama_chat.engine.fused.spec import LayerSpec

    spec, folder = LayerSpec.from_json(sys.stdin.read()), Path(sys.argv[1])
    started = time.perf_counter()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    with tempfile.TemporaryDirectory(dir=folder, prefix=WORK_PREFIX) as work:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = work  # else half a megabyte of C++ stays in /tmp
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        os.environ["CXX"] = find_compiler() or ""  # Inductor knows one name on each system
        code = {part: compile_part(spec, part, Path(work)) for part in spec.parts}
        StepShelf(folder).keep(spec.name, code, time.perf_counter() - started)


def _say_ready() -> None:
    """One byte for who started this: from now on the group may be told to stand still."""
    with contextlib.suppress(OSError):
        os.write(1, b".")


def end_with_parent(parent: int) -> bool:
    """Have this process and the compiler that it starts end with `parent`, even while they stand still.

    The kernel ends this one; a process that is asleep until then ends its group. What POSIX has for a group
    that is orphaned while it stands still (`source.start_group`) is not enough: it is no orphan where the
    process that inherits it shares the session, as the shell does that runs first in a container.

    Returns:
        Whether there is such a process, which says itself when it is ready.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before it was asked for
        sys.exit(1)
    with contextlib.suppress(OSError, AttributeError):  # before Linux 5.3; not in every Python
        ends = [os.pidfd_open(process) for process in (parent, os.getpid())]
        group = os.getpgrp()
        if not os.fork():
            _end_group_when(ends, group)
        for end in ends:
            os.close(end)
        return True
    return False


def _end_group_when(ends: list[int], group: int) -> NoReturn:
    """Wait until one of the processes is gone, then end what is left of the group."""
    try:
        os.setsid()  # out of the group, which may stand still
        _say_ready()
        os.closerange(0, 3)
        select.select(ends, [], [])
        os.killpg(group, signal.SIGKILL)
    finally:
        os._exit(0)  # whatever went wrong: only the other one goes on from here


def compile_part(spec: LayerSpec, part: Part, work: Path) -> bytes:
    """The shared object of a part, without its weights."""
    import torch
    from torch._inductor import aoti_compile_and_package

    torch.set_num_threads(spec.threads)
    module, inputs, shapes = _to_compile(spec, part)
    with torch.no_grad():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)
    package = aoti_compile_and_package(
        program, package_path=str(work / f"{part}.pt2"), inductor_configs=_options(spec, part)
    )
    with zipfile.ZipFile(package) as archive:
        code = next(name for name in archive.namelist() if name.endswith((".so", ".dylib", ".pyd")))
        return archive.read(code)


def _options(spec: LayerSpec, part: Part) -> dict[str, Any]:
    """Inductor's settings."""
    # The weights stay where they are.
    options: dict[str, Any] = {"aot_inductor.package_constants_in_so": False}
    if part == "one":
        # For one row Inductor's own 4-bit product is mostly the faster one, and by how much is measured.
        options["max_autotune"] = True
    if part == "head" or spec.kv == "int8":
        # What is unpacked stays in the loop that uses it: nothing on the way is worth a place in memory.
        options |= {"realize_opcount_threshold": 1000, "realize_reads_threshold": 1000}
        options["cpp.enable_floating_point_contract_flag"] = "fast"
    return options


def _to_compile(spec: LayerSpec, part: Part) -> tuple[nn.Module, tuple[Any, ...], tuple[Any, ...] | None]:
    """The module, inputs, and which of their sizes may be others."""
    import torch

    from llama_chat.engine.fused.head import FusedHead
    from llama_chat.engine.fused.layer import FusedLayer, FusedRows
    from llama_chat.engine.fused.sample import sample_block, sample_head, sample_inputs, sample_rows

    if part == "head":
        return FusedHead(), sample_head(spec), None
    new, seen, room = (torch.export.Dim(name, min=2, max=1 << 24) for name in ("new", "seen", "room"))
    block, of_cache = sample_block(spec), [{1: room}] * (2 if spec.kv == "bf16" else 4)
    if part == "one":
        return FusedLayer(block), sample_inputs(spec), (None, None, None, {0: seen}, of_cache)
    is_dense = part == "many"
    inputs = sample_rows(spec, is_dense=is_dense)
    of_rows = ({0: new}, {0: new}, {0: new}, {0: seen}, {0: new, 1: seen})
    return FusedRows(block, is_dense=is_dense), inputs, (*of_rows, of_cache, [None] * len(inputs[-1]))


if __name__ == "__main__":
    main()
