"""From tensors to plain data: numbers, labels of tokens, tables of the likeliest."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from llama_chat.drawing.views import Axis, Bar, Grid, GridKind, TensorShape
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.sanitize import sanitize

SPACE = "␣"
_USUAL, _FEW = 0.97, 100
_LARGE = 65_536
"""Numbers of a grid from which on it has coarser ones with it."""


def floats(values: Tensor) -> array[float]:
    """The numbers of any tensor, f32, the last axis running fastest."""
    return array("f", values.detach().float().cpu().contiguous().numpy().tobytes())


def grid_of(title: str, rows: Axis, columns: Axis, values: Tensor, kind: GridKind = "signed") -> Grid:
    """The matrix [rows, columns]."""
    assert values.shape == (rows.size, columns.size), f"{title}: {tuple(values.shape)}"
    values = values.detach().float().cpu()
    is_cut = values == -math.inf
    least = float(values.masked_fill(is_cut, math.inf).min())
    full = 1.0 if kind == "share" else _usual_size(values.masked_fill(is_cut, 0.0).abs())
    grid = Grid(title, rows, columns, floats(values), kind, full, least, float(values.max()))
    return grid if values.numel() < _LARGE else replace(grid, coarser=tuple(_coarser(grid, values)))


def _coarser(grid: Grid, values: Tensor) -> Iterator[Grid]:
    """Smaller and smaller ones: of 4,000,000 numbers in 0.1 s, where Python alone would take seconds."""
    while values.numel() >= _LARGE:
        values = _strongest_of_four(values)
        rows, columns = (
            Axis(axis.letter, size)
            for axis, size in zip((grid.rows, grid.columns), values.shape, strict=True)
        )
        yield replace(grid, rows=rows, columns=columns, values=floats(values))


def _strongest_of_four(values: Tensor) -> Tensor:
    """Of each 2 x 2 the number that is furthest from zero; -inf only where there is nothing else."""
    (rows, columns), inf = values.shape, math.inf
    padded = pad(values, (0, columns % 2, 0, rows % 2), value=-inf)
    fours = padded.view(len(padded) // 2, 2, -1, 2)
    high, low = fours.amax((1, 3)), fours.masked_fill(fours == -inf, inf).amin((1, 3))
    return torch.where((high >= -low) | (high == -inf), high, low)


def _usual_size(sizes: Tensor) -> float:
    """What is drawn at full strength: of few numbers the largest, of many what most rows rarely exceed."""
    if sizes.numel() > _FEW:
        of_rows = sizes.kthvalue(max(1, round(sizes.shape[1] * _USUAL)), dim=1).values
        if (usual := float(of_rows.median())) > 0:
            return usual
    return float(sizes.max()) or 1.0


def shape_of(name: str, letters: str, values: Tensor) -> TensorShape:
    """The shape with the axes named: `TD` for [T, D]."""
    return TensorShape(name, tuple(zip(letters, values.shape, strict=True)))


def token_label(tokenizer: Tokenizer, token_id: int) -> str:
    """The token's text in one safe line; blanks at its ends, which one would not see, are drawn.

    A joiner is spelled out, as are bytes that are no whole character.
    """
    text = tokenizer.piece(token_id).decode("utf-8", "backslashreplace").replace("\u200d", "\\u200d")
    shown = "".join(map(_seen, sanitize(text).replace("\n", "␊").replace("\t", "␉")))
    inner = shown.strip(" ")
    if not inner:
        return SPACE * len(shown)
    before, after = len(shown) - len(shown.lstrip(" ")), len(shown) - len(shown.rstrip(" "))
    return SPACE * before + inner + SPACE * after


def _seen(char: str) -> str:
    """The character; of blanks that are no ordinary space, their number."""
    return f"\\u{ord(char):04x}" if char.isspace() and char != " " else char


def quoted(label: str) -> str:
    """The label of a token inside a sentence."""
    return f"‹{label}›"


def number(value: float) -> str:
    """A number of a stream or of a score, in four digits at most."""
    if not math.isfinite(value):
        return "-∞" if value < 0 else "∞"
    size = abs(value)
    if value == round(value) and size < 1e15:
        return f"{value:,.0f}"
    if size and (size < 0.001 or size >= 1e6):
        return f"{value:.2g}"
    return f"{value:,.{0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3}f}"


def percent(share: float) -> str:
    """A share of 0 to 1, never as 0 % or 100 % where it is not."""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    if 0.9995 <= share < 1:
        return "over 99.9 %"
    return f"{100 * share:.1f} %"


def joined(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def share_bars(labels: Sequence[str], shares: Sequence[float]) -> tuple[Bar, ...]:
    """Bars of shares, as they come."""
    return tuple(Bar(label, share, percent(share)) for label, share in zip(labels, shares, strict=True))


def rms(row: Tensor) -> float:
    """Root mean square of a vector."""
    return float(row.float().pow(2).mean().sqrt())


def length(row: Tensor) -> float:
    """Of a vector."""
    return float(row.float().norm())
