"""GGUF files: a header that is checked before it is believed, and tensors mapped from the disk.

The header says how large everything is, and a header can lie: each count and length is held against the
bytes that are really there before anything is read or allocated. The `gguf` package unpacks the quantised
types; its reader is not used (it parses 49,152 token strings one object at a time and takes sizes on
trust).

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_chat.catalogue import GIVE_A_MODEL
from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.ggml_types import type_of_code
from llama_chat.engine.files.other_kinds import kind_of
from llama_chat.engine.files.pages import map_file
from llama_chat.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
MAX_ARRAY_DEPTH = 4

# Far beyond any real model (405B: 1,138 tensors; a vocabulary of 262,144: 1.5 million values in 20 MB),
# so that a header that lies within the size of its file cannot fill the memory either.
MAX_TENSORS = MAX_PAIRS = 1 << 16
MAX_ARRAY_VALUES = 1 << 22
MAX_HEADER_BYTES = 1 << 28
MAX_NAME_BYTES = 65_535

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SMALLEST_TENSOR_INFO_BYTES = 8 + 4 + 8 + 4 + 8
_SMALLEST_PAIR_BYTES = 8 + 4 + 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies. `shape` is in torch's order: rows first, the contiguous dimension last."""

    name: str
    shape: tuple[int, ...]
    type: IntEnum
    offset: int
    """Bytes from the start of the file."""
    nbytes: int

    @property
    def type_name(self) -> str:
        """The quantised type as GGUF names it, `Q4_1` or `F32`."""
        name: str = self.type.name
        return name


@dataclass(frozen=True, slots=True)
class UnknownTensor:
    """A tensor of a type newer than the `gguf` package: it can be listed, and nothing else."""

    name: str
    shape: tuple[int, ...]
    code: int
    """The number of its type."""
    offset: int
    """Bytes from the start of the file."""


class _Header:
    """A cursor over the mapped file that never reads past its end."""

    def __init__(self, raw: mmap.mmap, where: str) -> None:
        self.raw = raw
        self.data = memoryview(raw)[:MAX_HEADER_BYTES]
        self.file_bytes = len(raw)
        self.where = where
        self.at = 0
        self.values_left = MAX_ARRAY_VALUES

    def wrong(self, what: str) -> ModelError:
        return ModelError(f"{self.where}: {what}", hint=DAMAGED)

    def take(self, count: int, what: str) -> int:
        """The position of the next `count` bytes, which are there."""
        at = self.at
        if count > len(self.data) - at:
            raise self.wrong(f"the header ends inside {what} (wants {count:,} bytes at {at:,})")
        self.at = at + count
        return at

    def scalar(self, code: str, what: str) -> Any:
        layout = f"<{code}"
        return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout), what))[0]

    def text(self, what: str) -> str:
        length = self.scalar("Q", what)
        at = self.take(length, what)
        return str(self.data[at : at + length], "utf-8", "replace")

    def name(self, what: str) -> str:
        text = self.text(what)
        if len(text) > MAX_NAME_BYTES:
            raise self.wrong(f"{what} has {len(text):,} characters")
        return text

    def count(self, what: str, smallest_bytes: int, most: int) -> int:
        """A number of things that follow, which must fit into what is left of the file."""
        n: int = self.scalar("Q", what)
        if n > most or n * smallest_bytes > len(self.data) - self.at:
            raise self.wrong(f"{what} is {n:,}, more than the file can hold")
        return n

    def value(self, kind: int, key: str, depth: int = 0) -> Any:
        """A metadata value: a number, a str, or for arrays a list (of bytes, for arrays of strings)."""
        if kind == _STRING:
            return self.text(f"the value of {key}")
        if kind == _ARRAY:
            if depth >= MAX_ARRAY_DEPTH:
                raise self.wrong(f"the arrays of {key} are nested more than {MAX_ARRAY_DEPTH} deep")
            return self.array(key, depth)
        if kind not in _SCALARS:
            raise self.wrong(f"{key} has the unknown type {kind}")
        return self.scalar(_SCALARS[kind], f"the value of {key}")

    def array(self, key: str, depth: int) -> list[Any]:
        kind = self.scalar("I", f"the element type of {key}")
        code = _SCALARS.get(kind)
        size = struct.calcsize(f"<{code}") if code else 8 if kind == _STRING else 12
        n = self.count(f"the length of {key}", size, self.values_left)
        self.values_left -= n
        if code:
            return list(struct.unpack_from(f"<{n}{code}", self.data, self.take(n * size, key)))
        if kind == _STRING:
            return self.strings(n, key)
        return [self.value(kind, key, depth + 1) for _ in range(n)]

    def strings(self, n: int, key: str) -> list[bytes]:
        """Vocabularies are hundreds of thousands of strings: read in one tight loop (49,152 in 20 ms)."""
        # Slices of the map itself are bytes at once, which those of a view are not: half the time.
        data, at, end, found = self.raw, self.at, len(self.data), []
        unpack = struct.Struct("<Q").unpack_from
        for _ in range(n):
            if at + 8 > end:
                raise self.wrong(f"the header ends inside {key}")
            start = at + 8
            at = start + unpack(data, at)[0]
            if at > end:
                raise self.wrong(f"a string in {key} is longer than the file")
            found.append(data[start:at])
        self.at = at
        return found


class GGUFFile:
    """A GGUF file with its header read and checked; tensor data stays on the disk until it is asked for.

    Args:
        path: of the file.
        lists_unknown: whether tensors of unknown types are put into `unknown` instead of being refused.

    Raises:
        ModelError: no such file, not GGUF, or a header that does not fit the file.
    """

    def __init__(self, path: Path, *, lists_unknown: bool = False) -> None:
        self.path = path
        self._map = map_file(path)
        header = _Header(self._map, path.name)
        tensor_count, pair_count = _read_preamble(header)
        self.metadata: Mapping[str, Any] = _read_metadata(header, pair_count)
        alignment = self.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 8 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise header.wrong(f"general.alignment is {alignment!r}, wanted a power of two from 8")
        unknown: list[UnknownTensor] | None = [] if lists_unknown else None
        read = [_read_tensor_info(header, unknown) for _ in range(tensor_count)]
        data_start = -(-header.at // alignment) * alignment
        infos = [info for info in read if info is not None]
        self.tensors: Mapping[str, TensorInfo] = _place_tensors(header, infos, data_start)
        self.unknown = tuple(replace(tensor, offset=data_start + tensor.offset) for tensor in unknown or ())
        self.header_bytes = header.at
        header.data.release()

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """The metadata value, which is of that type.

        Raises:
            ModelError: it is missing (and there is no default) or of another type.
        """
        value = self.metadata.get(key, default)
        if value is None:
            raise ModelError(f"{self.path.name}: the metadata has no {key!r}", hint=DAMAGED)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ModelError(f"{self.path.name}: {key!r} is a {type(value).__name__}", hint=DAMAGED)
        return value

    def blocks(self, name: str) -> Tensor:
        """The tensor's bytes as they lie in the file: uint8 [rows, bytes of a row], mapped, not read.

        Raises:
            ModelError: there is no such tensor.
        """
        info = self.tensors.get(name)
        if info is None:
            raise ModelError(f"{self.path.name}: there is no tensor {name!r}", hint=DAMAGED)
        import torch  # the header is read without it: torch takes seconds to import

        flat = np.frombuffer(self._map, np.uint8, count=info.nbytes, offset=info.offset)
        rows = prod(info.shape[:-1])
        return torch.from_numpy(flat.reshape(rows, info.nbytes // rows))


def _read_preamble(header: _Header) -> tuple[int, int]:
    if bytes(header.data[:4]) != MAGIC:
        raise ModelError(
            f"{header.where}: not a GGUF file, but {kind_of(bytes(header.data[:1024]))}",
            hint=GIVE_A_MODEL,
        )
    header.at = 4
    version = header.scalar("I", "the version")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
        reason = "is written for big-endian machines" if swapped else f"has GGUF version {version}"
        raise ModelError(f"{header.where}: the file {reason}; versions 2 and 3, little-endian, can be read")
    tensor_count = header.count("the number of tensors", _SMALLEST_TENSOR_INFO_BYTES, MAX_TENSORS)
    return tensor_count, header.count("the number of metadata pairs", _SMALLEST_PAIR_BYTES, MAX_PAIRS)


def _read_metadata(header: _Header, pair_count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(pair_count):
        key = header.name("a metadata key")
        if key in metadata:
            raise header.wrong(f"the metadata has {shown(key)} twice")
        metadata[key] = header.value(header.scalar("I", f"the type of {shown(key)}"), shown(key))
    return metadata


def _read_tensor_info(header: _Header, unknown: list[UnknownTensor] | None) -> TensorInfo | None:
    """The entry of one tensor; its offset still counts from the start of the tensor data.

    None for one of an unknown type, which goes to `unknown` where there is such a list.
    """
    name = header.name("a tensor's name")
    label = shown(name)
    dimensions = header.scalar("I", f"the shape of {label}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise header.wrong(f"{label} has {dimensions} dimensions, wanted 1 to {MAX_DIMENSIONS}")
    sizes = [header.scalar("Q", f"the shape of {label}") for _ in range(dimensions)]
    if any(size < 1 or size > header.file_bytes * 8 for size in sizes):
        raise header.wrong(f"{label} has the impossible shape {sizes}")
    code = header.scalar("I", f"the type of {label}")
    try:
        kind, block_size, block_bytes = type_of_code(code)
    except (ValueError, KeyError):
        if unknown is None:
            raise header.wrong(f"{label} has the unknown quantised type {code}") from None
        offset = header.scalar("Q", f"the offset of {label}")
        unknown.append(UnknownTensor(name, tuple(reversed(sizes)), code, offset))
        return None
    if sizes[0] % block_size:
        raise header.wrong(
            f"a row of {label} has {sizes[0]} values, no multiple of {block_size} ({kind.name})"
        )
    nbytes = prod(sizes) // block_size * block_bytes
    offset = header.scalar("Q", f"the offset of {label}")
    return TensorInfo(name, tuple(reversed(sizes)), kind, offset, nbytes)


def _place_tensors(header: _Header, infos: list[TensorInfo], data_start: int) -> dict[str, TensorInfo]:
    """The tensors by name with offsets from the start of the file, none past its end or over another."""
    size, tensors = header.file_bytes, {}
    placed_end, previous = data_start, "the header"
    for info in sorted(infos, key=attrgetter("offset")):
        start = data_start + info.offset
        if start + info.nbytes > size:
            raise header.wrong(
                f"{shown(info.name)} ends at byte {start + info.nbytes:,}, but the file has {size:,}"
            )
        if start < placed_end:
            raise header.wrong(f"{shown(info.name)} overlaps {previous}")
        if info.name in tensors:
            raise header.wrong(f"there are two tensors {shown(info.name)}")
        tensors[info.name] = TensorInfo(info.name, info.shape, info.type, start, info.nbytes)
        placed_end, previous = start + info.nbytes, shown(info.name)
    return tensors
