"""Products with 4-bit weights, one class for each layout that torch's kernels take, and one that unpacks.

Shapes: T positions, N output features, D input features. Measured on 2 cores, 2026-11-22: one row through
a 3072×576 matrix takes 83 µs in 4-bit blocks and 265 µs in bf16.

A decode step with each of the layouts, and with both ways of 8 bits, is traced without a graph break on
the device "meta" (tests/test_gpu_layouts.py), the two GPU products by stand-ins of their shapes. A torch
for the CPU can neither run those products nor index tensors called "cuda" or "xpu": what they compute is
tried on the user's own GPU (`kernels.agrees`), and their tracing there was never tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  (the name that every PyTorch reader expects)
from torch import Tensor, nn

from llama_chat.engine.quantize.blocks import GROUP
from llama_chat.engine.quantize.int4 import Int4Matrix, first_rows, in_whole_blocks
from llama_chat.engine.quantize.kernels import TRIED_ROWS, agrees, has_int4_product

_ROWS_OF = 16  # the packed products take multiples of this many output features

# The CPU's layout is made of blocks of 64 rows (32 and 16 on smaller vector units), so that slices of a
# multiple can be packed one by one: an int32 copy of all would take 8 times the packed matrix.
_BLOCK_ROWS = 64

MANY_ROWS = 16
"""From so many on a product in bf16 is the faster one, where the weights are at hand in it."""

_UNPACK_VALUES = 1 << 24  # unpacked at a time: 32 MB of bf16


def takes_int4(n: int, d: int) -> bool:
    """Whether a matrix of that shape can be packed."""
    return n % _ROWS_OF == 0 and d % GROUP == 0


class MappedMatrix(NamedTuple):
    """A matrix in a mapped file."""

    values: Tensor
    """[N, D]."""
    forget: Callable[[], None]
    """Gives back the memory that reading it took; called whenever it was read."""


class Int4Linear(nn.Module):
    """x @ Wᵀ with 4-bit weights on the CPU (x86 and ARM): bf16 [T, D] -> bf16 [T, N].

    The scales are rounded to bf16; nothing else is lost against the GGUF blocks.

    Attributes:
        dense: the weights in bf16, where somebody keeps them (`engine.unpacked`).
        uses_dense: whether many rows are multiplied with those.
    """

    packed: Tensor
    scales_and_zeros: Tensor
    dense: MappedMatrix | None = None
    uses_dense = False

    def __init__(self, matrix: Int4Matrix) -> None:
        super().__init__()
        n, d = matrix.shape
        pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu
        self.register_buffer("packed", torch.empty(n, d // 2, dtype=torch.uint8))
        self.register_buffer("scales_and_zeros", torch.empty(d // GROUP, n, 2, dtype=torch.bfloat16))
        at = 0
        for part in in_whole_blocks(matrix.slices(), _BLOCK_ROWS):
            rows = slice(at, at + part.shape[0])
            self.packed[rows] = pack(part.q.to(torch.int32), 1)
            self.scales_and_zeros[:, rows] = _interleaved(part.scale, part.zero)
            at = rows.stop

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, bf16 [T, N]."""
        if self.uses_dense and self.dense is not None and len(x_TD) >= MANY_ROWS:
            many: Tensor = F.linear(x_TD, self.dense.values)
            self.dense.forget()
            return many
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            x_TD, self.packed, GROUP, self.scales_and_zeros
        )
        return out


def _interleaved(scale: Tensor, zero: Tensor) -> Tensor:
    """[D / 32, N, 2]: scale and zero side by side, as the kernels read them."""
    return torch.stack([scale, zero], dim=-1).transpose(0, 1).contiguous()


class _Pairs(NamedTuple):
    """A matrix on its device, two columns a byte."""

    packed: Tensor
    """uint8 [N, D / 2]."""
    scale: Tensor
    """[N, D / 32]."""
    zero: Tensor
    """[N, D / 32]."""


def _in_pairs(
    matrix: Int4Matrix, device: torch.device, dtype: torch.dtype, *, even_high: bool = False
) -> _Pairs:
    """The even column in the low half of each byte, or in the high one."""
    n, d = matrix.shape
    packed = torch.empty(n, d // 2, dtype=torch.uint8, device=device)
    scale = torch.empty(n, d // GROUP, dtype=dtype, device=device)
    zero = torch.empty_like(scale)
    at = 0
    for part in matrix.slices():
        rows = slice(at, at + part.shape[0])
        q = part.q.to(device)
        low, high = (q[:, 1::2], q[:, ::2]) if even_high else (q[:, ::2], q[:, 1::2])
        packed[rows] = low | (high << 4)
        scale[rows], zero[rows] = part.scale, part.zero
        at = rows.stop
    return _Pairs(packed, scale, zero)


class TiledInt4Linear(nn.Module):
    """The same in the layout of tensor cores: NVIDIA from sm_80 on and AMD's CDNA in bf16, Apple's GPUs.

    Packed by pairs of columns, the even one in the high half of a byte, then tile by tile.
    """

    packed: Tensor
    scales_and_zeros: Tensor

    def __init__(self, matrix: Int4Matrix, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        pairs, scale, zero = _in_pairs(matrix, device, dtype, even_high=True)
        # 16 · k columns are read at once, the more the faster; they must come out even.
        inner_tiles = next(tiles for tiles in (8, 4, 2) if matrix.shape[1] % (16 * tiles) == 0)
        self.register_buffer("packed", torch.ops.aten._convert_weight_to_int4pack(pairs, inner_tiles))
        self.register_buffer("scales_and_zeros", _interleaved(scale, zero))

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, [T, N]."""
        out: Tensor = torch.ops.aten._weight_int4pack_mm(
            x_TD.contiguous(), self.packed, GROUP, self.scales_and_zeros
        )
        return out


class XpuInt4Linear(nn.Module):
    """The same on Intel GPUs, whose product knows whole zero points only (oneDNN).

    So it gets 8 for all of them, which leaves (q - 8) · scale, and the zeros of the groups are added as a
    product of their own with the sums of x over each group: a 32nd of the weights.
    """

    packed: Tensor
    scale: Tensor
    points: Tensor
    zero: Tensor

    def __init__(self, matrix: Int4Matrix, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        pairs, scale, zero = _in_pairs(matrix, device, dtype)
        self.register_buffer("packed", pairs.view(torch.int32))
        self.register_buffer("scale", scale.T.contiguous())
        self.register_buffer("points", torch.full_like(self.scale, 8, dtype=torch.int8))
        self.register_buffer("zero", zero.T.contiguous())

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, [T, N]."""
        x_TD = x_TD.contiguous()
        out: Tensor = torch.ops.aten._weight_int4pack_mm_with_scales_and_zeros(
            x_TD, self.packed, GROUP, self.scale, self.points
        )
        sums = x_TD.unflatten(-1, (-1, GROUP)).sum(-1)
        return torch.addmm(out, sums, self.zero)


class UnpackingInt4Linear(nn.Module):
    """The same in plain products, for devices without a 4-bit one: weights are unpacked each time.

    It saves memory, not time: each weight is read, written and read again.
    """

    packed: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, matrix: Int4Matrix, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        pairs, scale, zero = _in_pairs(matrix, device, dtype)
        self.register_buffer("packed", pairs)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows [n, D] from `start` up to `stop`, unpacked."""
        pairs = self.packed[start:stop]
        scale, zero = self.scale[start:stop, :, None], self.zero[start:stop, :, None]
        q = torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten(1)
        groups = q.unflatten(-1, (-1, GROUP)).to(scale.dtype) - 8
        return torch.addcmul(zero, groups, scale).flatten(1)

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, [T, N]."""
        n, at_once = len(self.packed), max(_ROWS_OF, _UNPACK_VALUES // x_TD.shape[-1])
        parts = [F.linear(x_TD, self.rows(at, min(n, at + at_once))) for at in range(0, n, at_once)]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


Trials: TypeAlias = dict[tuple[int, int], bool]
"""By shape of a matrix: whether the device's own product was right."""


def build_int4_linear(
    matrix: Int4Matrix, device: torch.device, dtype: torch.dtype, trials: Trials
) -> nn.Module:
    """The product for the device: its own, where torch has one and it is right, or the one that unpacks.

    Args:
        matrix: one that `takes_int4`.
        device: where it will run.
        dtype: of x.
        trials: what was found for other matrices; the new finding is added.
    """
    if not has_int4_product(device, dtype):
        return UnpackingInt4Linear(matrix, device, dtype)
    if _is_cpu(device):
        return Int4Linear(matrix)
    shape = matrix.shape
    if trials.get(shape, True):
        own = _own_linear(matrix, device, dtype)
        if shape not in trials:
            trials[shape] = own is not None and agrees(own, _some_dense(matrix, device, dtype), dtype)
        if own is not None and trials[shape]:
            return own
        del own  # before its place is taken: there may be no room for both
    return UnpackingInt4Linear(matrix, device, dtype)


def _some_dense(matrix: Int4Matrix, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The first rows unpacked, as many as a trial compares."""
    some = first_rows(matrix, TRIED_ROWS)
    return UnpackingInt4Linear(some, device, dtype).rows(0, some.shape[0])


def _is_cpu(device: torch.device) -> bool:
    return device.type == "cpu"


def _own_linear(matrix: Int4Matrix, device: torch.device, dtype: torch.dtype) -> nn.Module | None:
    """The packed matrix; None where this torch cannot pack it."""
    kind = XpuInt4Linear if device.type == "xpu" else TiledInt4Linear
    try:
        return kind(matrix, device, dtype)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError):  # torch's words for "not here"
        return None
