"""Broken `.pth` archives and `params.json` by the thousand: `python tests/fuzz_meta.py [--rounds N]`.

A folder may be read or refused with a ModelError; anything else (another exception, seconds of work, a
gigabyte of memory) is a fault, and the files that show it are kept.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from fuzzing import run
from tiny_meta import TinyMeta

from llama_chat.engine.files.meta_folder import read_meta_folder
from llama_chat.errors import ModelError

SLOW_S = 5.0
MODEL = TinyMeta(dim=16, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16, dtype=torch.bfloat16)
_EVIL = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0xFFFF, 1 << 15, 1 << 31, (1 << 32) - 1, 1 << 60, 1 << 63, (1 << 64) - 1)
_EVIL_VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 128_256, 1 << 24, 1 << 63, 10**400, -(10**9), 0.5, 1e-300),
    *(1e308, float("nan"), float("inf"), -0.0, "", "4096", "\x1b[31m", [], [1], {}, {"a": {}}),
)


def places_to_break(path: Path) -> list[int]:
    """Every byte of an archive that is no weight: headers, the pickle, the directory."""
    with ZipFile(path) as archive:
        start, found = archive.start_dir, []
        for info in archive.infolist():
            data_at = info.header_offset + 30 + sum(_lengths(path, info.header_offset))
            found += range(info.header_offset, data_at)
            if "/data/" not in info.filename:
                found += range(data_at, data_at + info.file_size)
    return found + list(range(start, path.stat().st_size))


def _lengths(path: Path, header_at: int) -> tuple[int, int]:
    """Of the name and of the extra fields of a record."""
    lengths: tuple[int, int] = struct.unpack_from("<2H", path.read_bytes(), header_at + 26)
    return lengths


def mutated_archives(whole: bytes, places: list[int], seed: int) -> Iterator[bytes]:
    """Endless damaged copies: flipped, overwritten, moved, cut."""
    rng = random.Random(seed)
    pickle_ends = whole.index(b"PK\x03\x04", 4)
    directory = [place for place in places if place > len(whole) - 1200]
    while True:
        data = bytearray(whole)
        near = rng.choice((places, directory, range(64, pickle_ends)))
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at, kind = rng.choice(near), rng.randrange(7)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.randrange(256)
            elif kind == 2 and at + 8 <= len(data):
                struct.pack_into("<Q", data, at, rng.choice(_EVIL))
            elif kind == 3 and at + 4 <= len(data):
                struct.pack_into("<I", data, at, rng.choice(_EVIL) & 0xFFFFFFFF)
            elif kind == 4:
                start, size = rng.choice(near), rng.randrange(64)
                data[at : at + size] = data[start : start + size]
            elif kind == 5:
                data[at] = rng.choice(b"(.0]}aeghjklqrtuRQbcio\x80\x81\x85\x86\x87\x88\x8a")
            elif rng.random() < 0.1:
                del data[rng.randrange(len(data)) :]
            if len(data) < len(whole):
                break
        yield bytes(data)


def mutated_params(whole: dict[str, Any], seed: int) -> Iterator[bytes]:
    """Endless damaged `params.json`: other values, other keys, other bytes."""
    rng = random.Random(seed)
    more = ("quantization_args", "vision_chunk_size", "moe_args", "lora_args", "max_seq_len", "x")
    while True:
        params = dict(whole)
        for _ in range(rng.choice((1, 1, 2, 4))):
            key = rng.choice((*whole, *more))
            value = rng.choice(_EVIL_VALUES)
            if rng.random() < 0.2:
                params.pop(key, None)
            else:
                params[key] = value
        raw = bytearray(json.dumps(params).encode())
        if rng.random() < 0.3:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        if rng.random() < 0.05:
            raw = bytearray(rng.choice((b"", b"[]", b"[" * 100_000, b"null", b'{"a":' * 50_000, b"\xff")))
        yield bytes(raw)


def outcome(folder: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    started = time.monotonic()
    try:
        checkpoint = read_meta_folder(folder).checkpoint
        for name in checkpoint.tensors:
            checkpoint.values(name, 1, 3).float().sum()
            checkpoint.forget(name)
        checkpoint.fingerprint()
        found = "read"
    except ModelError as error:
        shown = str(error)
        found = "refused" if shown.isprintable() and len(shown) < 1000 else f"says {shown!r}"
    except Exception as error:  # what is hunted here
        return f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    return found if seconds < SLOW_S else f"took {seconds:.1f} s"


def fuzz(folder: Path, rounds: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """How many models were read and refused, and a line for each fault; two of three break the archive."""
    model = MODEL.write(folder / "tiny")
    pth, params = model / "consolidated.00.pth", model / "params.json"
    whole_pth, whole_params = pth.read_bytes(), params.read_bytes()
    archives = mutated_archives(whole_pth, places_to_break(pth), seed)
    described = mutated_params(MODEL.params_json(), seed)
    counts: dict[str, int] = {"read": 0, "refused": 0}
    faults: list[str] = []
    for n in range(rounds):
        # A new file every time: an older one may still be mapped.
        pth.unlink()
        pth.write_bytes(whole_pth if n % 3 == 0 else next(archives))
        params.write_bytes(next(described) if n % 3 == 0 else whole_params)
        found = outcome(model)
        if found in counts:
            counts[found] += 1
        else:
            kept = shutil.copytree(model, folder / f"fault-{seed}-{n}")
            faults.append(f"{kept.name}: {found}")
    return counts, faults


if __name__ == "__main__":
    sys.exit(run(__doc__, "meta", fuzz))
