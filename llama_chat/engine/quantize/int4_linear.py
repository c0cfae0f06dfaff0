"""Products with 4-bit weights, one class for each layout that torch's kernels take, and one that unpacks.

Shapes: T positions, N output features, D input features. Measured on 2 cores, 2026-11-22: one row through
a 3072×576 matrix takes 83 µs in 4-bit blocks and 265 µs in bf16.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  (the name that every PyTorch reader expects)
from torch import Tensor, nn

from llama_chat.engine.quantize.blocks import GROUP
from llama_chat.engine.quantize.int4 import Int4Groups
from llama_chat.engine.quantize.kernels import agrees, has_int4_product

_ROWS_OF = 16  # the packed products take multiples of this many output features

# The CPU's layout is made of blocks of 64 rows (32 and 16 on smaller vector units), so that slices of a
# multiple can be packed one by one: their int32 copy would take 8 times the packed matrix.
_PACK_ROWS = 4096

_UNPACK_VALUES = 1 << 24  # unpacked at a time: 32 MB of bf16


def takes_int4(n: int, d: int) -> bool:
    """Whether a matrix of that shape can be packed."""
    return n % _ROWS_OF == 0 and d % GROUP == 0


class Int4Linear(nn.Module):
    """x @ Wᵀ with 4-bit weights on the CPU (x86 and ARM): bf16 [T, D] -> bf16 [T, N].

    The scales are rounded to bf16; nothing else is lost against the GGUF blocks.
    """

    packed: Tensor
    scales_and_zeros: Tensor

    def __init__(self, groups: Int4Groups) -> None:
        super().__init__()
        pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu
        parts = [pack(part.to(torch.int32), 1) for part in groups.q.split(_PACK_ROWS)]
        self.register_buffer("packed", torch.cat(parts) if len(parts) > 1 else parts[0])
        self.register_buffer("scales_and_zeros", _interleaved(groups, torch.bfloat16))

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, bf16 [T, N]."""
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            x_TD, self.packed, GROUP, self.scales_and_zeros
        )
        return out


def _interleaved(groups: Int4Groups, dtype: torch.dtype) -> Tensor:
    """[D / 32, N, 2]: scale and zero side by side, as the kernels read them."""
    return torch.stack([groups.scale, groups.zero], dim=-1).transpose(0, 1).contiguous().to(dtype)


class TiledInt4Linear(nn.Module):
    """The same in the layout of tensor cores: NVIDIA from sm_80 on and AMD's CDNA in bf16, Apple's GPUs.

    Packed by pairs of columns, the even one in the high half of a byte, then tile by tile.
    """

    packed: Tensor
    scales_and_zeros: Tensor

    def __init__(self, groups: Int4Groups, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        q = groups.q.to(device)
        pairs = (q[:, ::2] << 4) | q[:, 1::2]
        # 16 · k columns are read at once, the more the faster; they must come out even.
        inner_tiles = next(tiles for tiles in (8, 4, 2) if q.shape[1] % (16 * tiles) == 0)
        self.register_buffer("packed", torch.ops.aten._convert_weight_to_int4pack(pairs, inner_tiles))
        self.register_buffer("scales_and_zeros", _interleaved(groups, dtype).to(device))

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

    def __init__(self, groups: Int4Groups, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("packed", _packed_pairs(groups.q).view(torch.int32).to(device))
        self.register_buffer("scale", groups.scale.T.contiguous().to(device, dtype))
        self.register_buffer("points", torch.full_like(self.scale, 8, dtype=torch.int8))
        self.register_buffer("zero", groups.zero.T.contiguous().to(device, dtype))

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, [T, N]."""
        x_TD = x_TD.contiguous()
        out: Tensor = torch.ops.aten._weight_int4pack_mm_with_scales_and_zeros(
            x_TD, self.packed, GROUP, self.scale, self.points
        )
        sums = x_TD.unflatten(-1, (-1, GROUP)).sum(-1)
        return torch.addmm(out, sums, self.zero)


def _packed_pairs(q_ND: Tensor) -> Tensor:
    """uint8 [N, D / 2], the even column in the low half."""
    return (q_ND[:, ::2] | (q_ND[:, 1::2] << 4)).contiguous()


class UnpackingInt4Linear(nn.Module):
    """The same in plain products, for devices without a 4-bit one: weights are unpacked each time.

    It saves memory, not time: each weight is read, written and read again.
    """

    packed: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, groups: Int4Groups, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("packed", _packed_pairs(groups.q).to(device))
        self.register_buffer("scale", groups.scale.to(device, dtype))
        self.register_buffer("zero", groups.zero.to(device, dtype))

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
    groups: Int4Groups, device: torch.device, dtype: torch.dtype, trials: Trials
) -> nn.Module:
    """The product for the device: its own, where torch has one and it is right, or the one that unpacks.

    Args:
        groups: a matrix that `takes_int4`.
        device: where it will run.
        dtype: of x.
        trials: what was found for other matrices; the new finding is added.
    """
    if not has_int4_product(device, dtype):
        return UnpackingInt4Linear(groups, device, dtype)
    if _is_cpu(device):
        return Int4Linear(groups)
    unpacking = UnpackingInt4Linear(groups, device, dtype)
    shape = (groups.q.shape[0], groups.q.shape[1])
    if trials.get(shape, True):
        own = _own_linear(groups, device, dtype)
        if shape not in trials:
            trials[shape] = own is not None and agrees(own, unpacking.rows(0, shape[0]), dtype)
        if own is not None and trials[shape]:
            return own
    return unpacking


def _is_cpu(device: torch.device) -> bool:
    return device.type == "cpu"


def _own_linear(groups: Int4Groups, device: torch.device, dtype: torch.dtype) -> nn.Module | None:
    """The packed matrix; None where this torch cannot pack it."""
    kind = XpuInt4Linear if device.type == "xpu" else TiledInt4Linear
    try:
        return kind(groups, device, dtype)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError):  # torch's words for "not here"
        return None
