"""`bench` with figures, machines and earlier runs that say anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

from llama_chat.benchmarks.records import FORMAT, Energy, MachineRecord, Measured
from llama_chat.cli import bench_run
from llama_chat.errors import DeviceError


class Commands(Protocol):
    """What runs commands; its stdout and stderr are the terminal."""

    def take(self, cells: int = 60) -> str: ...
    def run(self, *words: str) -> int: ...


MACHINE = MachineRecord("A processor", 2, 10**9, "", "", "Linux 6", "3.11.7", "2.13.0+cpu", ("AVX2",))
MEASURED = Measured(
    **dict.fromkeys(("model", "fingerprint", "engine", "dtype", "device"), "cpu"),  # type: ignore[arg-type]  # all of them are texts
    parameters=10, threads=2, context_length=4096, prompt_tokens=64, new_tokens=10, prompt="ids",
    import_s=2.0, load_s=0.5, first_token_cold_s=3.0, first_token_s=0.004, prefill_s=(0.1, 0.2, 0.4),
    decode_s=(1.0, 0.5, 2.0), chat_decode_tok_per_s=9.0, peak_memory_bytes=10**8, peak_device_bytes=None,
    weights_bytes=2 * 10**7, weights_read_bytes=10**7, kv_read_bytes=10**5, bandwidth_bytes_per_s=1e9,
)  # fmt: skip


def benchmarks(commands: Commands, count: int) -> None:
    """Names of models, processors and drivers, what a process says that failed, a file of another machine."""
    from hostile_printing import OwnLine
    from tiny_models import TinyModel

    model = str(TinyModel().write(Path("benchmark.gguf")))
    ask_child, loading_line = bench_run.ask_child, bench_run.LoadingLine
    bench_run.LoadingLine = lambda name, _: loading_line(name, cast(TextIO, OwnLine()))  # type: ignore[assignment,misc]
    try:
        for _ in range(max(1, count // 12)):
            bench_run.ask_child = _parrot(commands.take)  # type: ignore[assignment]  # instead of a process
            name = Path("earlier.json")
            name.write_text(json.dumps(_run(commands.take)) + "\n")
            for words in ((), ("--json",), ("--dtype", "bf16", "--dtype", "f16")):
                commands.run(
                    "bench", "--model", model, "--prompt-tokens", "64", "--compare", str(name), *words
                )
            name.write_text(commands.take())
            commands.run("bench", "--compare", str(name))
    finally:
        bench_run.ask_child, bench_run.LoadingLine = ask_child, loading_line  # type: ignore[misc]  # as they were


def _parrot(take: Callable[[], str]) -> Callable[..., dict[str, Any]]:
    """In the place of the process: what it says is hostile; at f16 it fails."""

    def ask(configuration: Any, what: str, cancel: object, tell: Callable[[str], None]) -> dict[str, Any]:
        del what, cancel
        tell(take())
        if configuration.settings.dtype == "f16":
            raise DeviceError(take(), hint=take())
        names = {name: take() for name in ("model", "engine", "device", "dtype")}
        energy = Energy(0.5, take())
        figures = replace(MEASURED, **names, energy=energy, notices=(take(),))
        machine = replace(MACHINE, processor=take(), gpu=take(), driver=take(), os=take(), torch=take())
        return {"figures": figures.as_data(), "machine": asdict(machine)}

    return ask


def _run(take: Callable[[], str]) -> dict[str, Any]:
    result = replace(MEASURED, model=take(), engine=take(), dtype=take(), device=take()).as_data()
    machine = replace(MACHINE, processor=take(), torch=take())
    return {"format": FORMAT, "date": take(), "machine": asdict(machine), "results": [result]}
