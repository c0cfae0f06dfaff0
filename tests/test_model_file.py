"""What tells two model files apart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tiny_models import TinyModel

from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import GGUFCheckpoint


def fingerprint_of(path: Path) -> str:
    return GGUFCheckpoint([GGUFFile(path)]).fingerprint()


@pytest.mark.parametrize("from_end", [False, True])
def test_weights_with_equal_headers_are_told_apart(tmp_path: Path, from_end: bool) -> None:
    path = TinyModel(n_layers=1).write(tmp_path / "a.gguf")
    file = GGUFFile(path)
    before = fingerprint_of(path)
    assert fingerprint_of(TinyModel(n_layers=1).write(tmp_path / "b.gguf")) == before
    largest = max(file.tensors.values(), key=lambda info: info.nbytes)
    changed = bytearray(path.read_bytes())
    changed[largest.offset + (largest.nbytes - 1 if from_end else 0)] ^= 1
    other = tmp_path / "c.gguf"
    other.write_bytes(changed)
    assert fingerprint_of(other) != before


@pytest.mark.alone
def test_the_default_model_takes_milliseconds(default_model: Path) -> None:
    checkpoint = GGUFCheckpoint([GGUFFile(default_model)])
    taken_s = []
    for _ in range(5):
        started = time.perf_counter()
        checkpoint.fingerprint()
        taken_s.append(time.perf_counter() - started)
    assert min(taken_s) < 0.05
