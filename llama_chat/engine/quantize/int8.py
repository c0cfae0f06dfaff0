"""Eight bits a weight: products, the table of tokens and the output head.

One scale a row, not one a group of 32: torch's products of 8 bits take no other. On the default model's
layers a scale a row costs a mean KL of 0.0041 and a scale a group 0.0016, against 0.33 for 4 bits (384
tokens, layers alone, 2026-11-22); groups would have to be unpacked for each product.

Shapes: T positions, N output features, D input features, V vocabulary, C candidates. Measured on 2 cores,
2026-11-22: one row through 49152×576 takes 2.6 ms with 8-bit rows and 6.2 ms in bf16.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812  (the name that every PyTorch reader expects)
from torch import Tensor, nn

from llama_chat.engine.quantize.blocks import GROUP
from llama_chat.engine.quantize.kernels import TRIED_ROWS, agrees

RESCORED = 64
"""Tokens that the output head scores again: as many as are kept as candidates."""

# torch's 8-bit product reads rows in blocks of 16 values and past their end where they do not come out even:
# inf or a crash for bf16 rows of 24 and 33 values (torch 2.13 with AVX-512, 2026-11-22). 32 leaves a margin.
_ROWS_OF = 32

# NVIDIA's and AMD's kernel multiplies each row of x on its own, in f32 (torch's int8mm.cu): good for a decode
# step, not for a prefill.
_FEW_ROWS = 8

_UNPACK_VALUES = 1 << 24  # unpacked at a time: 32 MB of bf16


def takes_int8(d: int) -> bool:
    """Whether rows of that width can be multiplied."""
    return d % _ROWS_OF == 0


class Int8Linear(nn.Module):
    """x @ Wᵀ with 8-bit weights and one scale a row: [T, D] -> [T, N] in x's dtype (fast in bf16).

    Attributes:
        scale: [N] in the dtype of x; `exact_scale` is the same in f32.
        uses_kernel: whether torch's own product is used; otherwise weights are unpacked each time.
    """

    weight: Tensor
    scale: Tensor
    exact_scale: Tensor

    def __init__(
        self,
        parts: Iterable[Tensor],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        """Allocates its memory once, and fills it.

        Args:
            parts: the rows [n, D] in order, in slices, so that a large table is never whole in f32.
            shape: of them all, [N, D].
            dtype: of x.
            device: where it will run; the CPU where none is given.
        """
        super().__init__()
        device = device or torch.device("cpu")
        weight = torch.empty(shape, dtype=torch.int8, device=device)
        exact_scale = torch.empty(shape[0], device=device)
        at = 0
        for part in parts:
            rows = slice(at, at + len(part))
            exact_scale[rows] = _round_to_int8(part, weight[rows])
            at = rows.stop
        self.register_buffer("weight", weight)
        self.register_buffer("scale", exact_scale.to(dtype))
        self.register_buffer("exact_scale", exact_scale)
        # Apple's product takes whole 32s of rows (torch's Quantized.mm).
        self.uses_kernel = device.type != "mps" or len(exact_scale) % _ROWS_OF == 0
        if self.uses_kernel and device.type != "cpu":
            some = slice(0, TRIED_ROWS)
            dense = self.weight[some].float() * exact_scale[some, None]
            self.uses_kernel = agrees(_Kernel(self.weight[some], self.scale[some]), dense, dtype)

    def forward(self, x_TD: Tensor) -> Tensor:
        """The product, [T, N]."""
        is_cuda = x_TD.device.type == "cuda"
        if self.uses_kernel and (not is_cuda or len(x_TD) <= _FEW_ROWS):
            return _int8_product(x_TD, self.weight, self.scale)
        return self.unpacked_product(x_TD)

    def unpacked_product(self, x_TD: Tensor) -> Tensor:
        """The same in plain products: 8 bits are whole numbers in every dtype, and the scales come after.

        Not in f16, which ends at 65,504: there the weights are scaled first.
        """
        if x_TD.dtype is torch.float16:
            at_once = max(1, _UNPACK_VALUES // 2 // x_TD.shape[-1])  # f32 on its way to f16
            return _joined([F.linear(x_TD, rows) for rows in self._scaled_rows(at_once, x_TD.dtype)])
        at_once = max(1, _UNPACK_VALUES // x_TD.shape[-1])
        parts = [F.linear(x_TD, part.to(x_TD.dtype)) for part in self.weight.split(at_once)]
        return _joined(parts) * self.scale

    def _scaled_rows(self, at_once: int, dtype: torch.dtype) -> Iterator[Tensor]:
        """The weights themselves, so many rows at a time."""
        scale_N1 = self.exact_scale[:, None]
        for part, scale in zip(self.weight.split(at_once), scale_N1.split(at_once), strict=True):
            yield part.float().mul_(scale).to(dtype)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _int8_product(x_TD: Tensor, weight_ND: Tensor, scale_N: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._weight_int8pack_mm(x_TD.contiguous(), weight_ND, scale_N)
    return out.to(x_TD.dtype)  # older kernels for GPUs leave it in f32


class _Kernel(nn.Module):
    """Torch's own product alone, to be tried."""

    def __init__(self, weight_ND: Tensor, scale_N: Tensor) -> None:
        super().__init__()
        self.weight_ND, self.scale_N = weight_ND, scale_N

    def forward(self, x_TD: Tensor) -> Tensor:
        return _int8_product(x_TD, self.weight_ND, self.scale_N)


def _round_to_int8(part_ND: Tensor, out_ND: Tensor) -> Tensor:
    """Writes the nearest int8 numbers, gives their scale a row, f32 [N]; takes one f32 copy of the part."""
    values_ND = part_ND.to(torch.float32, copy=True)
    smallest_N, largest_N = values_ND.aminmax(dim=1)
    scale_N = torch.maximum(largest_N, -smallest_N).clamp_min_(1e-12).div_(127)
    out_ND.copy_(values_ND.div_(scale_N[:, None]).round_())
    return scale_N


class Int8RowEmbedding(nn.Module):
    """Rows of an `Int8Linear` by token: ids [T] -> [T, D]. A tied output head shares its memory."""

    def __init__(self, rows: Int8Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.rows = rows
        self.dtype = dtype

    def exact(self, ids: Tensor) -> Tensor:
        """The rows in f32, [..., D] for ids of any shape."""
        return self.rows.weight[ids].float() * self.rows.exact_scale[ids][..., None]

    def forward(self, ids_T: Tensor) -> Tensor:
        """The rows, [T, D]."""
        return self.exact(ids_T).to(self.dtype)


class Int8Embedding(nn.Module):
    """Rows of a Q8_0 table, exact to the file's f16 scales: ids [T] -> [T, D], one byte a value in memory."""

    q: Tensor
    scale: Tensor

    def __init__(
        self,
        parts: Iterable[Tensor],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        """Args: parts: the blocks of the rows in order, in slices; shape: [V, D]."""
        super().__init__()
        rows, groups = shape[0], shape[1] // GROUP
        self.dtype = dtype
        self.register_buffer("q", torch.empty(rows, groups, GROUP, dtype=torch.int8, device=device))
        self.register_buffer("scale", torch.empty(rows, groups, dtype=torch.float16, device=device))
        at = 0
        for part in parts:
            raw = part.view(-1, groups, 34)
            here = slice(at, at + len(raw))
            self.q[here] = raw[..., 2:].contiguous().view(torch.int8)
            self.scale[here] = raw[..., :2].contiguous().view(torch.float16)[..., 0]
            at = here.stop

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

    def __init__(self, fast: Int8Linear, table: Int8Embedding | Int8RowEmbedding) -> None:
        super().__init__()
        self.fast = fast
        self.table = table

    def forward(self, x_TD: Tensor) -> Tensor:
        """The logits, f32 [T, V]."""
        return self.rescored(self.fast(x_TD).float(), x_TD)

    def rescored(self, logits_TV: Tensor, x_TD: Tensor) -> Tensor:
        """The logits of the fast product, f32 [T, V], with the likeliest ones scored again in place."""
        ids_TC = logits_TV.topk(min(RESCORED, logits_TV.shape[-1])).indices
        exact_TC = (self.table.exact(ids_TC) @ x_TD.float()[..., None])[..., 0]
        return logits_TV.scatter_(1, ids_TC, exact_TC)
