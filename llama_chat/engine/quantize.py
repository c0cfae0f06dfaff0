"""Weights in few bits: how GGUF's blocks become what torch's fast products take, and the products.

Shapes: T positions, N output features, D input features. Measured on 2 cores, 2026-11-22: one row through
a 3072×576 matrix takes 83 µs in 4-bit blocks and 265 µs in bf16; 49152×576 takes 2.6 ms with 8-bit rows and
6.2 ms in bf16.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from gguf.quants import dequantize
from torch import Tensor, nn

from llama_chat.engine.files.checkpoint import Blocks, shown
from llama_chat.engine.files.gguf import TensorInfo
from llama_chat.errors import ModelError

GROUP = 32
"""Values that share a scale in Q4_0, Q4_1, Q8_0 and in a sub-block of Q4_K."""

RESCORED = 64
"""Tokens that the output head scores again: as many as are kept as candidates."""

_INT4_ROWS = 16  # the packed product takes multiples of this many output features

# torch's 8-bit product reads rows in blocks of 16 values and past their end where they do not come out even:
# inf or a crash for bf16 rows of 24 and 33 values (torch 2.13 with AVX-512, 2026-11-22). 32 leaves a margin.
_INT8_BLOCK = 32


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
    if info.type is GGMLType.Q8_0:
        return _unpack_q8_0(blocks, info.shape).to(dtype)
    try:
        values = torch.from_numpy(dequantize(blocks.numpy(), info.type))
    except NotImplementedError as error:
        raise ModelError(
            f"{shown(info.name)} is stored as {info.type_name}, which cannot be unpacked",
            hint="Take the model in another type, such as Q4_K_M or Q8_0.",
        ) from error
    return values.reshape(info.shape).to(dtype)


_PLAIN = {
    GGMLType.F32: torch.float32,
    GGMLType.F16: torch.float16,
    GGMLType.BF16: torch.bfloat16,
    GGMLType.F64: torch.float64,
}


def plain_view(blocks: Tensor, info: TensorInfo) -> Tensor | None:
    """The values themselves, in the tensor's shape, where they lie there one by one; a view of the file."""
    dtype = _PLAIN.get(info.type)
    return None if dtype is None else blocks.reshape(-1).view(dtype).reshape(info.shape)


def _unpack_q8_0(blocks: Tensor, shape: Sequence[int]) -> Tensor:
    """34 bytes a group: f16 scale, 32 int8; on all threads: 28 million values in 0.08 s instead of 0.25."""
    raw = blocks.view(-1, shape[-1] // GROUP, 34)
    q = raw[..., 2:].contiguous().view(torch.int8).float()
    return q.mul_(_halves(raw[..., :2])).reshape(shape)


# --- 4 bits ----------------------------------------------------------------------------------------


class Int4Groups:
    """A matrix as 4-bit numbers with an affine map per group of 32: w = (q - 8) · scale + zero.

    Attributes:
        q: uint8 [N, D], 0 to 15.
        scale, zero: f32 [N, D / 32].
    """

    def __init__(self, q: Tensor, scale: Tensor, zero: Tensor) -> None:
        self.q, self.scale, self.zero = q, scale, zero

    @classmethod
    def stack(cls, parts: Sequence[Int4Groups]) -> Int4Groups:
        """One matrix with the rows of all, in order."""
        return cls(
            torch.cat([part.q for part in parts]),
            torch.cat([part.scale for part in parts]),
            torch.cat([part.zero for part in parts]),
        )

    def dense(self) -> Tensor:
        """The values, f32 [N, D]."""
        groups = self.q.view(*self.scale.shape, GROUP).float() - 8
        return (groups * self.scale[..., None] + self.zero[..., None]).view(self.q.shape)


def int4_groups_from_gguf(blocks: Blocks) -> Int4Groups | None:
    """The tensor's own 4-bit numbers, where its type is one of groups of 32; None for other types."""
    reader = {GGMLType.Q4_0: _read_q4_0, GGMLType.Q4_1: _read_q4_1, GGMLType.Q4_K: _read_q4_k}.get(
        blocks.type
    )
    return reader(blocks.raw, blocks.width) if reader is not None else None


def _halves(raw: Tensor) -> Tensor:
    """Little-endian f16 pairs of bytes [..., 2n] as f32 [..., n]."""
    return raw.contiguous().view(torch.float16).float()


def _nibbles(raw: Tensor) -> Tensor:
    """Bytes [..., n] as their low halves, then their high halves: uint8 [..., 2n]."""
    return torch.cat([raw & 15, raw >> 4], dim=-1)


def _read_q4_0(blocks: Tensor, width: int) -> Int4Groups:
    """18 bytes a group: scale d, 16 bytes of nibbles; w = (q - 8) · d."""
    raw = blocks.view(-1, width // GROUP, 18)
    scale = _halves(raw[..., :2])[..., 0]
    return Int4Groups(_nibbles(raw[..., 2:]).reshape(-1, width), scale, torch.zeros_like(scale))


def _read_q4_1(blocks: Tensor, width: int) -> Int4Groups:
    """20 bytes a group: scale d, minimum m, 16 bytes of nibbles; w = q · d + m."""
    raw = blocks.view(-1, width // GROUP, 20)
    scale, minimum = _halves(raw[..., :4]).unbind(-1)
    return Int4Groups(_nibbles(raw[..., 4:]).reshape(-1, width), scale, minimum + 8 * scale)


def _read_q4_k(blocks: Tensor, width: int) -> Int4Groups:
    """144 bytes for 8 groups: d, dmin, 12 bytes of 6-bit scales and minima, 4 × 32 bytes of nibbles.

    w = q · (d · scale) - dmin · minimum; the packing of the 6-bit numbers is ggml's (ggml-quants.c).
    """
    raw = blocks.view(-1, width // 256, 144)
    d, d_min = _halves(raw[..., :4]).unbind(-1)
    low, high, rest = raw[..., 4:8], raw[..., 8:12], raw[..., 12:16]
    scales = torch.cat([low & 63, (rest & 15) | ((low >> 6) << 4)], dim=-1).float()
    minima = torch.cat([high & 63, (rest >> 4) | ((high >> 6) << 4)], dim=-1).float()
    scale = (d[..., None] * scales).flatten(1)
    q = _nibbles(raw[..., 16:].unflatten(-1, (4, GROUP))).reshape(-1, width)
    return Int4Groups(q, scale, 8 * scale - (d_min[..., None] * minima).flatten(1))


def quantize_int4(weight_ND: Tensor) -> Int4Groups:
    """The nearest 4-bit numbers between each group's smallest and largest value."""
    groups = weight_ND.float().unflatten(-1, (-1, GROUP))
    smallest, largest = groups.aminmax(dim=-1)
    scale = ((largest - smallest) / 15).clamp_min(1e-12)
    q = ((groups - smallest[..., None]) / scale[..., None]).round().clamp(0, 15).to(torch.uint8)
    return Int4Groups(q.flatten(1), scale, smallest + 8 * scale)


class Int4Linear(nn.Module):
    """x @ Wᵀ with 4-bit weights: bf16 [T, D] -> bf16 [T, N]. Runs on the CPU (x86 and ARM), in bf16 only.

    The scales are rounded to bf16; nothing else is lost against the GGUF blocks.
    """

    packed: Tensor
    scales_and_zeros: Tensor

    def __init__(self, groups: Int4Groups) -> None:
        super().__init__()
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(groups.q.to(torch.int32), 1)
        affine = torch.stack([groups.scale, groups.zero], dim=-1).transpose(0, 1)
        self.register_buffer("packed", packed)
        self.register_buffer("scales_and_zeros", affine.contiguous().to(torch.bfloat16))

    @staticmethod
    def takes(n: int, d: int) -> bool:
        """Whether a matrix of that shape can be packed."""
        return n % _INT4_ROWS == 0 and d % GROUP == 0

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, bf16 [T, N]."""
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            x_TD, self.packed, GROUP, self.scales_and_zeros
        )
        return out


# --- 8 bits ----------------------------------------------------------------------------------------


class Int8Linear(nn.Module):
    """x @ Wᵀ with 8-bit weights and one scale a row: [T, D] -> [T, N] in x's dtype (fast in bf16)."""

    weight: Tensor
    scale: Tensor

    def __init__(self, parts: Iterable[Tensor], dtype: torch.dtype) -> None:
        """Args: parts: the rows [n, D] in order, in slices, so that a large table is never whole in f32."""
        super().__init__()
        quantized = [_int8_rows(part.float()) for part in parts]
        self.register_buffer("weight", torch.cat([weight for weight, _ in quantized]))
        self.register_buffer("scale", torch.cat([scale for _, scale in quantized]).to(dtype))

    @staticmethod
    def takes(d: int) -> bool:
        """Whether rows of that width can be multiplied."""
        return d % _INT8_BLOCK == 0

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, [T, N]."""
        out: Tensor = torch.ops.aten._weight_int8pack_mm(x_TD, self.weight, self.scale)
        return out


def _int8_rows(weight_ND: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest int8 numbers [N, D] and their scale a row, f32 [N]."""
    scale_N = weight_ND.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (weight_ND / scale_N[:, None]).round_().to(torch.int8), scale_N


class Int8Embedding(nn.Module):
    """Rows of a Q8_0 table, exact to the file's f16 scales: ids [T] -> [T, D], one byte a value in memory."""

    q: Tensor
    scale: Tensor

    def __init__(self, blocks: Tensor, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        raw = blocks.view(-1, width // GROUP, 34)
        self.dtype = dtype
        self.register_buffer("q", raw[..., 2:].contiguous().view(torch.int8))
        self.register_buffer("scale", raw[..., :2].contiguous().view(torch.float16)[..., 0].clone())

    def exact(self, ids: Tensor) -> Tensor:
        """The rows in f32, [..., D] for ids of any shape."""
        groups = self.q[ids].float() * self.scale[ids].float()[..., None]
        return groups.flatten(-2)

    def forward(self, ids_T: Tensor) -> Tensor:
        """The rows, [T, D]."""
        return self.exact(ids_T).to(self.dtype)


class RescoredHead(nn.Module):
    """The output product in 8 bits, and the likeliest tokens once more from the table's own rows in f32.

    The fast product rounds to bf16, which ties the two likeliest tokens at 2.5 % of the positions. With the
    best 64 scored again no ties are left, and the mean KL against f32 falls from 0.0025 to 0.0007 (555
    tokens, default model, 2026-11-22), for a fiftieth of a token's time.
    """

    def __init__(self, fast: Int8Linear, table: Int8Embedding) -> None:
        super().__init__()
        self.fast = fast
        self.table = table

    def forward(self, x_TD: Tensor) -> Tensor:
        """The logits, f32 [T, V]."""
        logits_TV: Tensor = self.fast(x_TD).float()
        ids_TC = logits_TV.topk(min(RESCORED, logits_TV.shape[-1])).indices
        exact_TC = (self.table.exact(ids_TC) @ x_TD.float()[..., None])[..., 0]
        return logits_TV.scatter_(1, ids_TC, exact_TC)
