"""One file of named tensors and a description, in safetensors' layout, each tensor on a line of 64 bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_chat.engine.files.safetensors import SafetensorsFile
from llama_chat.engine.packed.early import EARLY, DataDigest
from llama_chat.errors import ModelError
from llama_chat.paths import replacing

ALIGNMENT = 64
"""Bytes of a processor's cache line, and of its widest vector."""
_PADDING = "padding."
_TYPES = {
    torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
    torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PackedTensors:
    """What a file holds."""

    about: Any
    """Plain data."""
    tensors: Mapping[str, Tensor]
    """Views of the mapped file; nobody may write to them."""


def write_packed(path: Path, about: Any, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors into a file of that name, in one step.

    Raises:
        OSError: the folder or the disk does not take it.
        KeyError: a tensor is of a type that is not kept.
    """
    entries: dict[str, Any] = {}
    parts: list[Tensor] = []
    at = 0
    for name, tensor in tensors.items():
        for entry, raw, kind, shape in _with_padding(name, tensor):
            entries[entry] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(raw)]}
            parts.append(raw)
            at += len(raw)
    digest = DataDigest(at)
    for raw in parts:
        digest.update(_bytes_of(raw))
    entries["__metadata__"] = {"about": json.dumps(about), "sha256": digest.hexdigest()}
    header = json.dumps(entries).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    with replacing(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for raw in parts:
            file.write(_bytes_of(raw))


def _bytes_of(raw: Tensor) -> memoryview:
    """The tensor's own memory, uint8."""
    return raw.numpy().data


def _with_padding(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor, str, list[int]]]:
    """The tensor's bytes, and zeros up to the next line: safetensors allows no holes between tensors."""
    raw = tensor.reshape(-1).view(torch.uint8)
    yield name, raw, _TYPES[tensor.dtype], list(tensor.shape)
    if short := -len(raw) % ALIGNMENT:
        yield _PADDING + name, torch.zeros(short, dtype=torch.uint8), "U8", [short]


def read_packed(path: Path) -> PackedTensors:
    """The file's tensors, mapped, after every check that it bears.

    Raises:
        OSError: it cannot be read.
        ModelError: it is damaged.
    """
    file = SafetensorsFile(path)
    if EARLY.digest(path, file.header_bytes) != file.metadata.get("sha256"):
        raise ModelError(f"{path.name}: the bytes are not those that were written")
    tensors = {name: file.values(name) for name in file.tensors if not name.startswith(_PADDING)}
    return PackedTensors(json.loads(file.metadata.get("about", "null")), tensors)
