"""Values out of the bytes of a file, some megabytes at a time; numpy alone, since torch takes a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.engine.inspect.listing import SLICE_VALUES, Slices
from llama_chat.errors import ModelError

Decode = Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]
"""The values of whole blocks of bytes."""

_PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
}  # fmt: skip


def read_slices(path: Path, offset: int, nbytes: int, block: tuple[int, int, Decode]) -> Slices:
    """The values of the bytes that lie there.

    Args:
        path: the file.
        offset: of the first byte.
        nbytes: of the tensor.
        block: values in a block, bytes of a block, and what unpacks blocks.

    Raises:
        ModelError: the file has grown shorter.
    """
    values, size, decode = block
    at_once = max(1, SLICE_VALUES // values) * size
    with path.open("rb") as file:
        file.seek(offset)
        for done in range(0, nbytes, at_once):
            raw = file.read(min(at_once, nbytes - done))
            if len(raw) < min(at_once, nbytes - done):
                raise ModelError(f"{path.name}: ends at byte {offset + done + len(raw):,}", hint=DAMAGED)
            yield decode(np.frombuffer(raw, np.uint8)).reshape(-1)


def gguf_block(kind: GGMLQuantizationType) -> tuple[int, int, Decode] | None:
    """How GGUF's type is unpacked; None if nobody here can."""
    values, size = GGML_QUANT_SIZES[kind]
    plain = plain_block(kind.name)
    if plain is not None:
        return plain

    def decode(raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        # As one row: gguf unpacks 16 rows at a time, and 28 million values in short rows took 1.4 s, not 0.2.
        unpacked: npt.NDArray[Any] = dequantize(raw.reshape(1, -1), kind)
        return unpacked

    try:
        decode(np.zeros(size, np.uint8))
    except NotImplementedError:
        return None
    return values, size, decode


def plain_block(type_name: str) -> tuple[int, int, Decode] | None:
    """How a type is read whose values lie there one by one; None for any other."""
    if type_name in _PLAIN:
        dtype = np.dtype(_PLAIN[type_name])
        return 1, dtype.itemsize, lambda raw: raw.view(dtype)
    if type_name == "BF16":
        return 1, 2, lambda raw: (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if type_name == "F8_E5M2":  # the upper half of an f16
        return 1, 1, lambda raw: (raw.astype(np.uint16) << 8).view(np.float16)
    if type_name == "F8_E4M3":
        return 1, 1, lambda raw: _e4m3()[raw]
    return None


@cache
def _e4m3() -> npt.NDArray[np.float32]:
    """The value of every byte: sign, 4 bits of exponent, 3 of mantissa; no infinities (arXiv 2209.05433)."""
    code = np.arange(256)
    exponent, mantissa = code >> 3 & 15, code & 7
    size = np.where(exponent, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
    size[code & 127 == 127] = np.nan
    return np.where(code < 128, size, -size).astype(np.float32)
