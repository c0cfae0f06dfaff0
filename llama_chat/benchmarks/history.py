"""Runs that were kept: a file of one JSON object a line, ours or one that somebody brought."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_chat.benchmarks.records import FORMAT
from llama_chat.paths import make_private_folder

_LARGEST_FILE = 256_000_000
_LARGEST_NUMBER = 1e18


@dataclass(frozen=True, slots=True)
class Past:
    """One configuration's figures from an earlier run; out of a file that may say anything."""

    date: str
    program: str
    torch: str
    machine: str
    """Its GPU, or its processor where that computed."""
    model: str
    fingerprint: str
    engine: str
    dtype: str
    device: str
    threads: int
    step: str
    prompt: str
    prompt_tokens: int
    new_tokens: int
    prefill_tok_per_s: float
    decode_tok_per_s: float
    first_token_s: float
    peak_memory_bytes: float


def append_run(path: Path, run: dict[str, Any]) -> None:
    """Add the run as one line; what a crash left of another is ended first.

    One write to a file that is open for appending: two programs that end at once lose nothing.

    Raises:
        OSError: the disk or the folder does not take it.
    """
    make_private_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        is_torn = file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        line = json.dumps(run, allow_nan=False).encode() + b"\n"
        file.write(b"\n" * is_torn + line)
        os.fsync(file.fileno())


def past_runs(path: Path) -> list[Past]:
    """Every figure in the file, the oldest first; lines that are no run of ours are passed over.

    Raises:
        OSError: it cannot be read.
    """
    found: list[Past] = []
    with path.open("rb") as file:
        text = file.read(_LARGEST_FILE).decode("utf-8", "replace")
    for line in text.splitlines():
        found += _past_of_line(line)
    return found


def _past_of_line(line: str) -> Iterator[Past]:
    try:
        run = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(run, dict) or run.get("format") != FORMAT or not isinstance(run.get("results"), list):
        return
    for result in run["results"]:
        if isinstance(result, dict):
            machine = result.get("machine", run.get("machine"))
            past = _past(run, machine if isinstance(machine, dict) else {}, result)
            if past is not None:
                yield past


def _past(run: dict[str, Any], machine: dict[str, Any], result: dict[str, Any]) -> Past | None:
    """None where it has no speed."""
    prefill, decode = (_number(result.get(f"{part}_tok_per_s")) for part in ("prefill", "decode"))
    if prefill <= 0 or decode <= 0:
        return None
    return Past(
        date=_text(run.get("date")),
        program=_text(run.get("program")),
        torch=_text(machine.get("torch")),
        machine=_text(machine.get("gpu")) or _text(machine.get("processor")),
        model=_text(result.get("model")),
        fingerprint=_text(result.get("fingerprint")),
        engine=_text(result.get("engine")),
        dtype=_text(result.get("dtype")),
        device=_text(result.get("device")),
        threads=int(_number(result.get("threads"))),
        step=_text(result.get("step")),
        prompt=_text(result.get("prompt")),
        prompt_tokens=int(_number(result.get("prompt_tokens"))),
        new_tokens=int(_number(result.get("new_tokens"))),
        prefill_tok_per_s=prefill,
        decode_tok_per_s=decode,
        first_token_s=_number(result.get("first_token_s")),
        peak_memory_bytes=_number(result.get("peak_memory_bytes")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float:
    """0 where it is none, or none that was ever measured."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 < value < _LARGEST_NUMBER else 0.0
