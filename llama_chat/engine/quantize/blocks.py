"""GGUF's blocks unpacked: the values of every type that the `gguf` package knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import torch
from torch import Tensor

from llama_chat.engine.files.checkpoint import shown
from llama_chat.engine.files.ggml_types import GGMLType
from llama_chat.engine.files.gguf import TensorInfo
from llama_chat.errors import ModelError

GROUP = 32
"""Values that share a scale in Q4_0, Q4_1, Q8_0, in a sub-block of Q4_K, and in the 4 bits made here."""

_VALUES_AT_ONCE = 1 << 20  # 4 MB in f32, of which working out few bits takes a handful
_WHOLE_ROWS = 64


def rows_at_once(width: int) -> int:
    """Rows of that width to be worked on together: a multiple of 64, whole blocks of every packed layout."""
    return max(1, _VALUES_AT_ONCE // (width * _WHOLE_ROWS)) * _WHOLE_ROWS


def unpack(blocks: Tensor, info: TensorInfo, dtype: torch.dtype = torch.float32) -> Tensor:
    """The tensor's values, in its shape, from its raw blocks (uint8 [rows, bytes of a row]).

    Covers every type that the `gguf` package unpacks, and plain F32, F16, BF16 and F64.

    Raises:
        ModelError: the values are of another type.
    """
    plain = plain_view(blocks, info)
    if plain is not None:
        # A view of the mapped file: the copy reads it, so that no tensor keeps the map alive.
        return plain.to(dtype, copy=True)
    if info.type == GGMLType.Q8_0:
        return _unpack_q8_0(blocks, info.shape).to(dtype)
    from gguf.quants import dequantize  # 0.08 s with all that it brings: not where nothing is unpacked

    try:
        values = torch.from_numpy(dequantize(blocks.numpy(), info.type))
    except NotImplementedError as error:
        raise ModelError(
            f"{shown(info.name)} is stored as {info.type_name}, which cannot be unpacked",
            hint="Take the model in another type, such as Q4_K_M or Q8_0.",
        ) from error
    return values.reshape(info.shape).to(dtype)


_PLAIN: Mapping[IntEnum, torch.dtype] = {
    GGMLType.F32: torch.float32,
    GGMLType.F16: torch.float16,
    GGMLType.BF16: torch.bfloat16,
    GGMLType.F64: torch.float64,
}


def plain_view(blocks: Tensor, info: TensorInfo) -> Tensor | None:
    """The values themselves, in the tensor's shape, where they lie there one by one; a view of the file."""
    dtype = _PLAIN.get(info.type)
    return None if dtype is None else blocks.reshape(-1).view(dtype).reshape(info.shape)


def halves(raw: Tensor) -> Tensor:
    """Little-endian f16 pairs of bytes [..., 2n] as f32 [..., n]."""
    return raw.contiguous().view(torch.float16).float()


def _unpack_q8_0(blocks: Tensor, shape: Sequence[int]) -> Tensor:
    """34 bytes a group: f16 scale, 32 int8; on all threads: 28 million values in 0.08 s instead of 0.25."""
    raw = blocks.view(-1, shape[-1] // GROUP, 34)
    q = raw[..., 2:].contiguous().view(torch.int8).float()
    return q.mul_(halves(raw[..., :2])).reshape(shape)
