"""Broken headers, indexes and configs: `python tests/fuzz_safetensors.py [--rounds N] [--seed N]`.

A Hugging Face folder may be read or refused with a ModelError; anything else (another exception, seconds
of work, a gigabyte of memory) is a fault, and the file that shows it is kept.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzzing import MEMORY_LIMIT_BYTES, SLOW_S, limit_memory
from tiny_hf import TinyHF, safetensors_image
from tiny_models import TinyModel

from llama_chat.engine.files.hf_config import GENERATION_CONFIG_NAME, end_ids_of
from llama_chat.engine.files.hf_folder import open_checkpoint
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.files.safetensors import SafetensorsFile
from llama_chat.errors import ModelError

KINDS = ("header", "config", "index", "generation")
_EVIL: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 31, 255, 1 << 31, 1 << 63, (1 << 64) - 1, 10**40, -(10**40), 0.0,
    -0.5, 1e308, float("nan"), float("inf"), "", "F32", "BF16", "F8_E4M3", "I64", "..", "../x.safetensors",
    "/etc/passwd", "model.safetensors\0", "\x1b]0;x\x07", "\ud800", "a" * 5000, [], {}, [[]], [0, 0], [-1, 4],
    [1e9], "llama3", "linear", "yarn", {"rope_type": "llama3"}, {"type": "dynamic", "factor": 2.0},
    {"quant_method": "gptq"},
)  # fmt: skip


def changed_json(content: dict[str, Any], rng: random.Random) -> bytes:
    """The object with a value replaced, renamed, repeated or left out, or the text of it damaged."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places: list[tuple[Any, Any]] = []
        waiting: list[Any] = [content]
        while waiting:
            at = waiting.pop()
            keys = list(at) if isinstance(at, dict) else range(len(at))
            places += [(at, key) for key in keys]
            waiting += [at[key] for key in keys if isinstance(at[key], dict | list)]
        if not places:
            break
        at, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0:
            del at[key]
        elif kind == 1 and isinstance(at, dict):
            value, other = at.pop(key), rng.choice(_EVIL)
            at[other if isinstance(other, str) else rng.choice([*at, "other"])] = value
        elif kind == 2:
            other_at, other_key = rng.choice(places)
            at[key] = copy.deepcopy(other_at[other_key])
        else:
            at[key] = copy.deepcopy(rng.choice(_EVIL))
    raw = bytearray(json.dumps(content).encode())
    for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
        where, kind = rng.randrange(len(raw) + 1), rng.randrange(6)
        if kind == 0:
            raw[where : where + rng.randrange(20)] = rng.choice(
                (b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, b"1e999")
            )
        elif kind == 1:
            raw[where : where + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            del raw[where : where + rng.randrange(40)]
        else:
            start = rng.randrange(len(raw) + 1)
            raw[where : where + rng.randrange(2)] = raw[start : start + rng.randrange(60)]
    return bytes(raw)


def headers(whole: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless damaged copies of a safetensors file."""
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    while True:
        raw = changed_json(header, rng)
        claimed = rng.choice(
            (None, None, None, None, None, 0, 1, len(raw) - 1, len(raw) + 1, 1 << 27, (1 << 64) - 1)
        )
        image = bytearray(safetensors_image(raw, data, claimed))
        kind = rng.randrange(12)
        if kind == 0:
            del image[rng.randrange(len(image)) :]
        elif kind == 1:
            image += bytes(rng.randrange(1, 9))
        elif kind == 2:
            struct.pack_into("<Q", image, rng.randrange(len(image) - 8), rng.getrandbits(64))
        yield bytes(image)


def read_everything(folder: Path) -> None:
    """Read what an engine would read, and every value.

    Raises:
        ModelError: the folder is no good.
    """
    _, checkpoint = open_checkpoint(folder)
    for name, stored in checkpoint.tensors.items():
        assert tuple(checkpoint.values(name).shape) == stored.shape
    checkpoint.fingerprint()
    end_ids_of(read_json(folder / GENERATION_CONFIG_NAME, 1 << 20), GENERATION_CONFIG_NAME)


def read_header(path: Path) -> None:
    """Read a single file's header, and every value that torch has a type for.

    Raises:
        ModelError: the file is no good.
    """
    file = SafetensorsFile(path)
    for name in file.tensors:
        file.values(name)


def outcome(read: Callable[[Path], None], path: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    started = time.monotonic()
    try:
        read(path)
        found = "read"
    except ModelError as error:
        found = "refused"
        if not str(error).isprintable() or len(error.message) > 1000:
            return f"a message that is not fit to be shown: {error!r}"
    except Exception as error:  # what is hunted here
        return f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    return found if seconds < SLOW_S else f"took {seconds:.1f} s"


def fuzz(folder: Path, kind: str, rounds: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """How many folders were read and refused, and a line for each fault."""
    rng = random.Random(seed)
    shards = 2 if kind == "index" else 1
    tiny = TinyModel(dim=16, n_heads=2, n_kv_heads=1, ffn_dim=16, n_layers=1)
    whole = TinyHF(tiny, shards=shards, generation={"eos_token_id": [1, 2]}).write(folder / f"whole-{kind}")
    name = {
        "header": "model.safetensors", "config": "config.json", "index": "model.safetensors.index.json",
        "generation": GENERATION_CONFIG_NAME,
    }[kind]  # fmt: skip
    path = whole / name
    content = path.read_bytes()
    damaged = headers(content, rng) if kind == "header" else _changes(json.loads(content), rng)
    counts, faults = {"read": 0, "refused": 0}, []
    for n in range(rounds):
        path.write_bytes(next(damaged))
        is_alone = kind == "header" and n % 2 == 1
        found = outcome(read_header, path) if is_alone else outcome(read_everything, whole)
        if found in counts:
            counts[found] += 1
        else:
            kept = path.rename(folder / f"fault-{kind}-{seed}-{n}{path.suffix}")
            faults.append(f"{kept.name}: {found}")
    return counts, faults


def _changes(content: dict[str, Any], rng: random.Random) -> Iterator[bytes]:
    while True:
        yield changed_json(content, rng)


def main() -> int:
    """The exit code: 1 when a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keeps the files that show a fault")
    options = parser.parse_args()
    limit_memory(MEMORY_LIMIT_BYTES)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz-safetensors-"))
    any_fault = False
    for kind in KINDS:
        counts, faults = fuzz(folder, kind, options.rounds, options.seed)
        print(
            f"{kind}: {counts['read']:,} read, {counts['refused']:,} refused, {len(faults)} faults",
            *faults,
            sep="\n",
        )
        any_fault |= bool(faults)
    if any_fault:
        print(f"kept in {folder}")
    return 1 if any_fault else 0


if __name__ == "__main__":
    sys.exit(main())
