"""Broken GGUF headers by the thousand: `python tests/fuzz_gguf.py [--rounds N] [--seed N]`.

A header may be read or refused with a ModelError; anything else (another exception, seconds of work, a
gigabyte of memory) is a fault, and the file that shows it is kept.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fuzzing import SLOW_S, run
from tiny_models import TinyModel

from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import config_from_gguf
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.errors import ModelError

_EVIL = (0, 1, 2, 7, 8, 9, 12, 31, 32, 255, 1 << 15, 1 << 31, (1 << 32) - 1, 1 << 60, 1 << 63, (1 << 64) - 1)


def mutations(whole: bytes, header_bytes: int, seed: int) -> Iterator[bytes]:
    """Endless damaged copies of a file: flipped, overwritten, moved, cut, most of them in the header."""
    rng = random.Random(seed)
    while True:
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at = rng.randrange(header_bytes)
            kind = rng.randrange(6)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.randrange(256)
            elif kind == 2:
                struct.pack_into("<Q", data, at, rng.choice(_EVIL))
            elif kind == 3:
                struct.pack_into("<I", data, at, rng.choice(_EVIL) & 0xFFFFFFFF)
            elif kind == 4:
                start, size = rng.randrange(header_bytes), rng.randrange(64)
                data[at : at + size] = data[start : start + size]
            elif rng.random() < 0.1:
                del data[rng.randrange(len(data)) :]
            if len(data) < header_bytes + 8:
                break
        yield bytes(data)


def read_everything(path: Path) -> None:
    """Read what an engine would read before it unpacks a tensor.

    Raises:
        ModelError: the file is no good.
    """
    file = GGUFFile(path)
    for name in file.tensors:
        file.blocks(name)
    config_from_gguf(file)
    tokenizer_from_gguf(file)


def outcome(path: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    started = time.process_time()  # of the machine others may use most
    try:
        read_everything(path)
        found = "read"
    except ModelError:
        found = "refused"
    except Exception as error:  # what is hunted here
        return f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    return found if seconds < SLOW_S else f"took {seconds:.1f} s"


def fuzz(folder: Path, rounds: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """How many files were read and refused, and a line for each fault."""
    whole = TinyModel(dim=32, n_heads=2, n_kv_heads=1, ffn_dim=32, n_layers=1).write(folder / "whole.gguf")
    header_bytes = GGUFFile(whole).header_bytes
    counts, faults = {"read": 0, "refused": 0}, []
    damaged = mutations(whole.read_bytes(), header_bytes, seed)
    path = folder / "damaged.gguf"
    for n in range(rounds):
        path.write_bytes(next(damaged))
        found = outcome(path)
        if found in counts:
            counts[found] += 1
        else:
            kept = path.rename(folder / f"fault-{seed}-{n}.gguf")
            faults.append(f"{kept.name}: {found}")
    return counts, faults


if __name__ == "__main__":
    sys.exit(run(__doc__, "gguf", fuzz))
