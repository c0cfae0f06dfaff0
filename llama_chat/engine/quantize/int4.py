"""Four bits a weight: the file's own numbers, or the best ones for values.

Shapes: N output features, D input features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from llama_chat.engine.files.checkpoint import Blocks
from llama_chat.engine.files.ggml_types import GGMLType
from llama_chat.engine.quantize.blocks import GROUP, halves, rows_at_once


class Int4Matrix(Protocol):
    """A matrix of 4-bit numbers, from which a layout takes a few rows after the others."""

    @property
    def shape(self) -> tuple[int, int]:
        """[N, D]."""
        ...

    def slices(self) -> Iterator[Int4Groups]:
        """The rows in order, a few at a time; can be asked for again."""
        ...


class Int4Slices:
    """A matrix whose numbers are worked out when they are asked for, so that it is never whole in bytes."""

    def __init__(self, shape: tuple[int, int], make: Callable[[], Iterator[Int4Groups]]) -> None:
        self.shape = shape
        self._make = make

    def slices(self) -> Iterator[Int4Groups]:
        """The rows in order, worked out anew."""
        return self._make()


class Int4Groups:
    """A matrix as 4-bit numbers with an affine map per group of 32: w = (q - 8) · scale + zero.

    Attributes:
        q: uint8 [N, D], 0 to 15.
        scale, zero: f32 [N, D / 32].
    """

    def __init__(self, q: Tensor, scale: Tensor, zero: Tensor) -> None:
        self.q, self.scale, self.zero = q, scale, zero

    @property
    def shape(self) -> tuple[int, int]:
        """[N, D]."""
        n, d = self.q.shape
        return n, d

    def rows(self, start: int, stop: int) -> Int4Groups:
        """The rows from `start` up to `stop`; views."""
        return Int4Groups(self.q[start:stop], self.scale[start:stop], self.zero[start:stop])

    def slices(self) -> Iterator[Int4Groups]:
        """The rows in order, a few at a time."""
        n, d = self.shape
        for start in range(0, n, rows_at_once(d)):
            yield self.rows(start, start + rows_at_once(d))

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


def in_whole_blocks(parts: Iterable[Int4Groups], rows: int) -> Iterator[Int4Groups]:
    """The same rows, each part but the last one a multiple of `rows`."""
    rest: Int4Groups | None = None
    for part in parts:
        joined = part if rest is None else Int4Groups.stack([rest, part])
        n = joined.shape[0]
        whole = n - n % rows
        if whole:
            yield joined.rows(0, whole)
        rest = joined.rows(whole, n) if whole < n else None
    if rest is not None:
        yield rest


def first_rows(matrix: Int4Matrix, count: int) -> Int4Groups:
    """So many of the first rows, or all where there are fewer."""
    parts: list[Int4Groups] = []
    for part in matrix.slices():
        parts.append(part.rows(0, count))
        count -= parts[-1].shape[0]
        if not count:
            break
    return Int4Groups.stack(parts)


def int4_groups_from_gguf(blocks: Blocks) -> Int4Groups | None:
    """The tensor's own 4-bit numbers, where its type is one of groups of 32; None for other types."""
    reader = _READERS.get(blocks.type)
    return reader(blocks.raw, blocks.width) if reader is not None else None


def _nibbles(raw: Tensor) -> Tensor:
    """Bytes [..., n] as their low halves, then their high halves: uint8 [..., 2n]."""
    return torch.cat([raw & 15, raw >> 4], dim=-1)


def _read_q4_0(blocks: Tensor, width: int) -> Int4Groups:
    """18 bytes a group: scale d, 16 bytes of nibbles; w = (q - 8) · d."""
    raw = blocks.view(-1, width // GROUP, 18)
    scale = halves(raw[..., :2])[..., 0]
    return Int4Groups(_nibbles(raw[..., 2:]).reshape(-1, width), scale, torch.zeros_like(scale))


def _read_q4_1(blocks: Tensor, width: int) -> Int4Groups:
    """20 bytes a group: scale d, minimum m, 16 bytes of nibbles; w = q · d + m."""
    raw = blocks.view(-1, width // GROUP, 20)
    scale, minimum = halves(raw[..., :4]).unbind(-1)
    return Int4Groups(_nibbles(raw[..., 4:]).reshape(-1, width), scale, minimum + 8 * scale)


def _read_q4_k(blocks: Tensor, width: int) -> Int4Groups:
    """144 bytes for 8 groups: d, dmin, 12 bytes of 6-bit scales and minima, 4 × 32 bytes of nibbles.

    w = q · (d · scale) - dmin · minimum; the packing of the 6-bit numbers is ggml's (ggml-quants.c).
    """
    raw = blocks.view(-1, width // 256, 144)
    d, d_min = halves(raw[..., :4]).unbind(-1)
    low, high, rest = raw[..., 4:8], raw[..., 8:12], raw[..., 12:16]
    scales = torch.cat([low & 63, (rest & 15) | ((low >> 6) << 4)], dim=-1).float()
    minima = torch.cat([high & 63, (rest >> 4) | ((high >> 6) << 4)], dim=-1).float()
    scale = (d[..., None] * scales).flatten(1)
    q = _nibbles(raw[..., 16:].unflatten(-1, (4, GROUP))).reshape(-1, width)
    return Int4Groups(q, scale, 8 * scale - (d_min[..., None] * minima).flatten(1))


_READERS: Mapping[IntEnum, Callable[[Tensor, int], Int4Groups]] = {
    GGMLType.Q4_0: _read_q4_0,
    GGMLType.Q4_1: _read_q4_1,
    GGMLType.Q4_K: _read_q4_k,
}
INT4_TYPES = frozenset(kind.name for kind in _READERS)
"""GGUF's types that are groups of 4-bit numbers."""


# --- made from values ------------------------------------------------------------------------------

_SMALLEST_SCALE = 1e-12
_SHRINKS = (1.0, 0.9)
"""Parts of a group's range that the 16 steps are first laid over; what lies outside is clipped."""
_REFITS = 2
_VALUES_AT_ONCE = 1 << 18  # so that a slice stays in the processor's cache


def quantize_int4(weight_ND: Tensor) -> Int4Groups:
    """4-bit numbers whose squared distance to the values is small; scales and zeros that bf16 holds.

    The 16 steps are laid between a group's smallest and largest value, or a little within; then scale and
    zero are fitted to the numbers by least squares, and the numbers chosen again, twice; the best is kept.
    Against the smallest and largest alone the squared error falls by 14 %, and on the default model with its
    grid blurred the mean KL from 0.319 to 0.284 (384 tokens, 2026-11-22). Five ranges give 0.251 and take
    three times as long; these take about 35 ns a value on 2 cores, the plain way 10.
    """
    rows = max(1, _VALUES_AT_ONCE // weight_ND.shape[1])
    return Int4Groups.stack([_quantized(part.float()) for part in weight_ND.split(rows)])


def _quantized(weight_ND: Tensor) -> Int4Groups:
    groups = weight_ND.unflatten(-1, (-1, GROUP))
    smallest, largest = groups.aminmax(dim=-1)
    middle, step = (smallest + largest) / 2, (largest - smallest) / 15
    best: _Fit | None = None
    for shrink in _SHRINKS:
        # The steps go from -8 to 7: their middle lies half a step below zero.
        fit, refitted = _tried(groups, step * shrink, middle + step * (shrink / 2))
        best = fit if best is None else best.better(fit)
        for _ in range(_REFITS):
            fit, refitted = _tried(groups, *refitted)
            best = best.better(fit)
    assert best is not None
    q = _numbers(groups, best.scale, best.zero).add_(8).to(torch.uint8)
    return Int4Groups(q.flatten(1), best.scale, best.zero)


class _Fit(NamedTuple):
    """Scale and zero of each group and the squared error that they leave, [N, D / 32] each."""

    scale: Tensor
    zero: Tensor
    error: Tensor

    def better(self, other: _Fit) -> _Fit:
        """The better of the two, group by group."""
        is_better = other.error < self.error
        return _Fit(*(torch.where(is_better, b, a) for a, b in zip(self, other, strict=True)))


def _numbers(groups: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """The nearest numbers from -8 to 7, f32 in the shape of the groups."""
    return (groups - zero[..., None]).mul_(1 / scale[..., None]).round_().clamp_(-8, 7)


def _tried(groups: Tensor, scale: Tensor, zero: Tensor) -> tuple[_Fit, tuple[Tensor, Tensor]]:
    """What scale and zero give, rounded as the kernels read them; and what least squares makes of them."""
    scale = scale.clamp_min(_SMALLEST_SCALE).bfloat16().float()
    zero = zero.bfloat16().float()
    q = _numbers(groups, scale, zero)
    # From the group's zero on, so that large values leave no error in the sums.
    values = groups - zero[..., None]
    q_mean, value_mean = q.mean(-1), values.mean(-1)
    spread = torch.linalg.vecdot(q, q) - GROUP * q_mean.square()
    slope = (torch.linalg.vecdot(q, values) - GROUP * q_mean * value_mean) / spread.clamp_min(1e-6)
    slope = torch.where(slope > _SMALLEST_SCALE, slope, scale)
    rest = values.sub_(q.mul_(scale[..., None]))
    fit = _Fit(scale, zero, torch.linalg.vecdot(rest, rest))
    return fit, (slope, zero + value_mean - slope * q_mean)
