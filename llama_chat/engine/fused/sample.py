"""A layer and inputs of the right sizes and forms, to be compiled; what is in them does not count."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.fused.spec import Kind, LayerSpec
from llama_chat.engine.fused.words import as_words
from llama_chat.engine.model import Attention, Block, FeedForward, RMSNorm, causal_mask
from llama_chat.engine.quantize import Int4Groups, Int4Linear, Int8Linear
from llama_chat.engine.quantize.blocks import GROUP

_SEEN, _ROOM, _ROWS = 600, 768, 40


def sample_block(spec: LayerSpec) -> Block:
    """A layer as `build_llama` makes it."""
    qkv, output, gate_up, down = map(_linear, spec.kinds, _shapes(spec))
    config = LlamaConfig(
        dim=spec.dim,
        n_layers=1,
        n_heads=spec.n_heads,
        n_kv_heads=spec.n_kv_heads,
        head_dim=spec.head_dim,
        ffn_dim=spec.ffn_dim,
        vocab_size=1,
        context_length=1,
        norm_eps=1e-5,
        rope_theta=1e4,
        tied_output=True,
    )
    attention = Attention(config, 0, qkv, output)
    return Block(_norm(spec.dim), attention, _norm(spec.dim), FeedForward(gate_up, down))


def _norm(width: int) -> RMSNorm:
    return RMSNorm(torch.ones(width), 1e-5)


def _linear(kind: Kind, shape: tuple[int, int]) -> nn.Module:
    n, d = shape
    if kind == "int8":
        return Int8Linear([torch.ones(n, d)], (n, d), torch.bfloat16)
    ones = torch.ones(n, d // GROUP)
    return Int4Linear(Int4Groups(torch.full((n, d), 9, dtype=torch.uint8), ones, ones))


def sample_inputs(spec: LayerSpec) -> tuple[Any, ...]:
    """What `FusedLayer.forward` takes, in the middle of a text."""
    return (
        torch.ones(1, spec.dim, dtype=torch.bfloat16),
        torch.ones(spec.head_dim // 2, 2),
        torch.tensor([_SEEN - 1]),
        torch.empty(_SEEN),
        _cache(spec, in_words=True),
    )


def sample_rows(spec: LayerSpec, *, is_dense: bool) -> tuple[Any, ...]:
    """What `FusedRows.forward` takes, in the middle of a text."""
    x_TD = torch.ones(_ROWS, spec.dim, dtype=torch.bfloat16)
    start = _SEEN - _ROWS
    return (
        x_TD,
        torch.ones(_ROWS, spec.head_dim // 2, 2),
        torch.arange(start, _SEEN),
        torch.empty(_SEEN),
        causal_mask(start, _SEEN, x_TD.dtype, x_TD.device),
        _cache(spec),
        [torch.ones(shape, dtype=x_TD.dtype) for shape in _shapes(spec)] if is_dense else [],
    )


def sample_head(spec: LayerSpec) -> tuple[Tensor, ...]:
    """What `FusedHead.forward` takes."""
    words = torch.zeros(spec.vocab_size, spec.dim // 4, dtype=torch.int32)
    return torch.ones(4, spec.dim // 4), words, torch.ones(spec.vocab_size)


def _cache(spec: LayerSpec, *, in_words: bool = False) -> list[Tensor]:
    """The tensors of one layer."""
    shape = (spec.n_kv_heads, _ROOM, spec.head_dim)
    if spec.kv == "bf16":
        return [torch.zeros(shape, dtype=torch.bfloat16) for _ in range(2)]
    values = [torch.zeros(shape, dtype=torch.int8) for _ in range(2)]
    return [*(map(as_words, values) if in_words else values), *(torch.ones(shape[:2]) for _ in range(2))]


def _shapes(spec: LayerSpec) -> list[tuple[int, int]]:
    """[N, D] of the four products."""
    heads = spec.n_heads * spec.head_dim
    return [
        (heads + 2 * spec.n_kv_heads * spec.head_dim, spec.dim),
        (spec.dim, heads),
        (2 * spec.ffn_dim, spec.dim),
        (spec.dim, spec.ffn_dim),
    ]
