"""Safetensors files: a header that is checked before it is believed, and tensors mapped from the disk.

The header is JSON that says where each tensor lies. Before anything is taken from it, its length is held
against the file, each tensor against its type and shape, and all of them against each other: they must fill
the data from its first byte to its last, so that none hides in another or in a hole.

Layout: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.json_file import parse_json
from llama_chat.engine.files.pages import forget_pages, map_file
from llama_chat.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 100_000_000
"""As the format's own library has it; 405B has 1,138 tensors in 170 kB."""
MAX_TENSORS = 1 << 16
MAX_DIMENSIONS = 32
MAX_NAME_CHARS = 65_535
_METADATA = "__metadata__"

TYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of a value in every type that the format knows."""

# Those that torch has; the others can be listed, but their values cannot be looked at.
_TORCH_NAMES: Mapping[str, str] = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32",
    "F64": "float64", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SafeTensorInfo:
    """Where a tensor lies."""

    name: str
    dtype: str
    """As the format calls it: `BF16`."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""
    nbytes: int


class SafetensorsFile:
    """A safetensors file with its header read and checked; tensors stay on the disk until they are asked for.

    Args:
        path: of the file.
        lists_unknown: whether types that are not known are listed, too, instead of being refused.

    Raises:
        ModelError: no such file, no safetensors, or a header that does not fit the file.
    """

    def __init__(self, path: Path, *, lists_unknown: bool = False) -> None:
        self.path = path
        self._map = map_file(path)
        header = _read_header(self._map, path.name)
        self.header_bytes = 8 + len(header)
        """Up to the tensors' data, the length in front included."""
        described = parse_json(header, path.name)
        self.metadata: Mapping[str, str] = _read_metadata(described.pop(_METADATA, {}), path.name)
        if len(described) > MAX_TENSORS:
            raise ModelError(f"{path.name}: names {len(described):,} tensors", hint=DAMAGED)
        infos = [
            _read_info(name, entry, self.header_bytes, path.name, lists_unknown=lists_unknown)
            for name, entry in described.items()
        ]
        self.tensors: Mapping[str, SafeTensorInfo] = _place(
            infos, self.header_bytes, len(self._map), path.name
        )

    def info(self, name: str) -> SafeTensorInfo:
        """Where that tensor lies.

        Raises:
            ModelError: there is no such tensor.
        """
        found = self.tensors.get(name)
        if found is None:
            raise ModelError(f"{self.path.name}: there is no tensor {shown(name)}", hint=DAMAGED)
        return found

    def values(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """The rows from `start` up to `stop` in the file's own dtype; a view of the mapped file.

        Raises:
            ModelError: there is no such tensor, or torch has no such type.
        """
        import torch  # the header is read without it: torch takes seconds to import

        info = self.info(name)
        dtype = getattr(torch, _TORCH_NAMES.get(info.dtype, ""), None)
        if dtype is None:
            raise ModelError(
                f"{self.path.name}: {shown(name)} is stored as {info.dtype}, which cannot be read"
            )
        shape, offset, nbytes = info.shape, info.offset, info.nbytes
        if shape and shape[0]:
            first, last, _ = slice(start, stop).indices(shape[0])
            row_bytes = nbytes // shape[0]
            shape = (max(0, last - first), *shape[1:])
            offset, nbytes = offset + first * row_bytes, shape[0] * row_bytes
        if not nbytes:
            return torch.empty(shape, dtype=dtype)
        raw = torch.frombuffer(self._map, dtype=torch.uint8, count=nbytes, offset=offset)
        if (
            offset % dtype.itemsize
        ):  # the format does not promise that values lie where a processor wants them
            raw = raw.clone()
        return raw.view(dtype).view(shape)

    def forget(self, name: str) -> None:
        """Give back the memory that reading the tensor took."""
        import torch

        info = self.info(name)
        if info.nbytes:
            whole = torch.frombuffer(self._map, dtype=torch.uint8, count=info.nbytes, offset=info.offset)
            forget_pages(whole.data_ptr(), info.nbytes)


def _read_header(data: Any, where: str) -> bytes:
    """The bytes of the JSON, whose length stands in the first eight."""
    size = len(data)
    if size < 8 + 2:
        raise ModelError(f"{where}: has {size} bytes, too few for a safetensors file", hint=DAMAGED)
    length = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{":
        raise ModelError(f"{where}: not a safetensors file (no header begins at byte 8)", hint=DAMAGED)
    if length > MAX_HEADER_BYTES:
        raise ModelError(
            f"{where}: the header claims {length:,} bytes, more than {MAX_HEADER_BYTES:,}", hint=DAMAGED
        )
    if length > size - 8:
        raise ModelError(
            f"{where}: the header claims {length:,} bytes, but the file has {size:,}", hint=DAMAGED
        )
    return bytes(data[8 : 8 + length])


def _read_metadata(found: Any, where: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ModelError(f"{where}: {_METADATA} is no table of texts", hint=DAMAGED)
    return found


def _read_info(
    name: str, entry: Any, data_start: int, where: str, *, lists_unknown: bool = False
) -> SafeTensorInfo:
    """One tensor's entry, in itself sound: its bytes are those that its type and shape take."""
    label = shown(name)

    def wrong(what: str) -> ModelError:
        return ModelError(f"{where}: {label} {what}", hint=DAMAGED)

    if len(name) > MAX_NAME_CHARS:
        raise wrong(f"is a name of {len(name):,} characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise wrong("is described by something else than dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not (lists_unknown or dtype in TYPE_BITS):
        raise wrong(f"has the unknown type {shown(str(dtype))}")
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise wrong(f"has the impossible shape {shown(str(shape)[:80])}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise wrong(f"lies at the impossible offsets {shown(str(offsets)[:80])}")
    nbytes = offsets[1] - offsets[0]
    bits = prod(shape) * TYPE_BITS[dtype] if dtype in TYPE_BITS else nbytes * 8
    if bits != nbytes * 8:
        takes = f"{-(-bits // 8):,}" if bits < 1 << 64 else "far more"
        raise wrong(f"has {nbytes:,} bytes, but as {dtype} {shown(str(shape)[:80])} it takes {takes}")
    return SafeTensorInfo(name, dtype, tuple(shape), data_start + offsets[0], nbytes)


def _are_counts(found: Any) -> bool:
    """Whether it is a list of numbers from 0 that 64 bits hold."""
    return isinstance(found, list) and all(type(n) is int and 0 <= n < 1 << 64 for n in found)


def _place(infos: list[SafeTensorInfo], data_start: int, size: int, where: str) -> dict[str, SafeTensorInfo]:
    """The tensors by name, in the order in which they lie; together they fill the file to its end."""
    end, previous = data_start, "the header"
    placed = sorted(infos, key=attrgetter("offset", "nbytes"))
    for info in placed:
        label = shown(info.name)
        if info.offset < end:
            raise ModelError(f"{where}: {label} overlaps {previous}", hint=DAMAGED)
        if info.offset > end:
            raise ModelError(
                f"{where}: {info.offset - end:,} bytes before {label} belong to no tensor", hint=DAMAGED
            )
        end, previous = info.offset + info.nbytes, label
        if end > size:
            raise ModelError(
                f"{where}: {label} ends at byte {end:,}, but the file has {size:,}", hint=DAMAGED
            )
    if end < size:
        raise ModelError(f"{where}: the last {size - end:,} bytes belong to no tensor", hint=DAMAGED)
    return {info.name: info for info in placed}
