"""The Llama network, from scratch.

Shapes: T new positions, S cached positions (new ones included), D width, H query heads, G key/value heads,
K head size, P = K / 2 pairs, F FFN width, V vocabulary.

Sources: Llama 2 (arXiv:2307.09288), RoPE (arXiv:2104.09864), grouped-query attention (arXiv:2305.13245),
SwiGLU (arXiv:2002.05202), RMSNorm (arXiv:1910.07467).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  (the name that every PyTorch reader expects)
from torch import Tensor, nn

from llama_chat.engine.cache import KVCache
from llama_chat.engine.config import LlamaConfig, RopeScaling


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last dimension, computed in f32, given back in x's dtype.

    One row of 576 takes 14 µs this way and 20 µs by F.rms_norm, which is not fused on the CPU (2026-11-22).
    """

    eps: Tensor

    def __init__(self, weight_D: Tensor, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight_D.float(), requires_grad=False)
        # Spread over the row, so that summing the row adds it once.
        self.register_buffer("eps", torch.full_like(self.weight, eps / len(weight_D)))

    def forward(self, x_TD: Tensor) -> Tensor:
        """The normalised rows, [T, D]."""
        x = x_TD.float()
        mean_square = torch.addcmul(self.eps, x, x, value=1 / x.shape[-1]).sum(-1, keepdim=True)
        return (x * mean_square.rsqrt() * self.weight).to(x_TD.dtype)


class RotaryTable:
    """cos and sin of position · frequency as complex numbers [S, P], made as far as they are needed.

    Args:
        divisors: [P], what the frequencies are divided by (Llama 3.1 and later), or None.
    """

    def __init__(
        self, head_dim: int, theta: float, device: torch.device, divisors: Tensor | None = None
    ) -> None:
        pairs = torch.arange(0, head_dim, 2, dtype=torch.float32)
        frequencies = theta ** (-pairs / head_dim)
        self.frequencies = frequencies if divisors is None else frequencies / divisors.float().cpu()
        self.device = device
        self.table = torch.empty(0, head_dim // 2, dtype=torch.complex64, device=device)

    def reserve(self, length: int) -> None:
        """Have the rotations of that many positions; worked out on the CPU, alike for all devices."""
        if length > len(self.table):
            positions = torch.arange(max(2048, 2 * length), dtype=torch.float32)
            angles = torch.outer(positions, self.frequencies)
            self.table = torch.polar(torch.ones_like(angles), angles).to(self.device)

    def rows(self, start: int, stop: int) -> Tensor:
        """The rotations of the positions from `start` up to `stop`, complex64 [T, P]."""
        self.reserve(stop)
        return self.table[start:stop]


def llama3_divisors(head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """[P], what Llama 3.1 and later divide RoPE's frequencies by: 1 for fast ones, `factor` for slow ones.

    Between the wave lengths original / high and original / low the frequency is blended linearly.
    """
    frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    turns = scaling.original_context * frequencies / (2 * torch.pi)  # over the first context
    span = scaling.high_freq_factor - scaling.low_freq_factor
    kept = ((turns - scaling.low_freq_factor) / span).clamp(0, 1)
    return 1 / (kept + (1 - kept) / scaling.factor)


def rotate(x_THK: Tensor, rotations_TP: Tensor) -> Tensor:
    """Each pair (2i, 2i+1) of every head turned by its angle, as one complex product in f32."""
    pairs = torch.view_as_complex(x_THK.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations_TP[:, None]).flatten(-2).to(x_THK.dtype)


def causal_mask(start: int, stop: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """[T, S]: 0 where position start+t may look, -inf in its future. None when one row sees all."""
    if stop - start == 1:
        return None
    return torch.full((stop - start, stop), -torch.inf, dtype=dtype, device=device).triu(start + 1)


def attend(q_THK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, mask_TS: Tensor | None) -> Tensor:
    """Softmax(QKᵀ / √K + mask) V, [T, H, K]; H / G query heads share one key/value head.

    torch's fused kernel wins on the CPU too: 67 against 214 µs by plain bf16 products for one row at 600
    positions, 0.6 against 4.1 ms for 256 rows (2 cores with AMX, 2026-11-22).
    """
    if q_THK.device.type != "cpu":
        return attend_grouped(q_THK, keys_GSK, values_GSK, mask_TS)
    out_HTK = F.scaled_dot_product_attention(
        q_THK.transpose(0, 1)[None], keys_GSK[None], values_GSK[None], attn_mask=mask_TS, enable_gqa=True
    )[0]
    return out_HTK.transpose(0, 1)


def attend_grouped(q_THK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, mask_TS: Tensor | None) -> Tensor:
    """The same with the query heads of a group as more rows of one head.

    For GPUs: torch's kernels that take a mask know no groups, and its plain path copies keys and values for
    every query head, in f32 (`attention.cpp`, read; not measured, for want of a GPU).
    """
    (t, h, k), g = q_THK.shape, keys_GSK.shape[0]
    rows_GNK = q_THK.view(t, g, h // g, k).permute(1, 2, 0, 3).reshape(g, h // g * t, k)
    mask_NS = None if mask_TS is None else mask_TS.repeat(h // g, 1)
    out_GNK = F.scaled_dot_product_attention(
        rows_GNK[None], keys_GSK[None], values_GSK[None], attn_mask=mask_NS
    )[0]
    return out_GNK.view(g, h // g, t, k).permute(2, 0, 1, 3).reshape(t, h, k)


class Attention(nn.Module):
    """Grouped-query attention; queries, keys and values come out of one product."""

    def __init__(self, config: LlamaConfig, layer: int, qkv: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.layer = layer
        self.qkv = qkv
        self.output = output
        self.attend = attend  # an attribute, so that a probe can have it in single steps (`probing`)

    def forward(self, x_TD: Tensor, rotations_TP: Tensor, mask_TS: Tensor | None, cache: KVCache) -> Tensor:
        """What the positions gather from those before them, [T, D]; writes their keys and values."""
        t, h, g, k = len(x_TD), self.n_heads, self.n_kv_heads, self.head_dim
        start = cache.length
        heads = self.qkv(x_TD).view(t, h + 2 * g, k)
        turned = rotate(heads[:, : h + g], rotations_TP)
        cache.write(self.layer, turned[:, h:].transpose(0, 1), heads[:, h + g :].transpose(0, 1))
        keys_GSK, values_GSK = cache.read(self.layer, start + t)
        out_THK = self.attend(turned[:, :h], keys_GSK, values_GSK, mask_TS)
        mixed: Tensor = self.output(out_THK.reshape(t, h * k))
        return mixed


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x)); gate and up come out of one product."""

    def __init__(self, gate_up: nn.Module, down: nn.Module) -> None:
        super().__init__()
        self.gate_up = gate_up
        self.down = down

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D]."""
        gate_TF, up_TF = self.gate_up(x_TD).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate_TF) * up_TF)
        return out


class Block(nn.Module):
    """One layer: attention and feed-forward, each on a normalised copy, each added to the stream."""

    def __init__(
        self, attention_norm: RMSNorm, attention: Attention, ffn_norm: RMSNorm, ffn: FeedForward
    ) -> None:
        super().__init__()
        self.attention_norm = attention_norm
        self.attention = attention
        self.ffn_norm = ffn_norm
        self.ffn = ffn

    def forward(self, x_TD: Tensor, rotations_TP: Tensor, mask_TS: Tensor | None, cache: KVCache) -> Tensor:
        """The stream after this layer, [T, D]."""
        x_TD = x_TD + self.attention(self.attention_norm(x_TD), rotations_TP, mask_TS, cache)
        out_TD: Tensor = x_TD + self.ffn(self.ffn_norm(x_TD))
        return out_TD


class Llama(nn.Module):
    """Token ids to logits."""

    def __init__(
        self,
        config: LlamaConfig,
        embedding: nn.Module,
        blocks: list[Block],
        norm: RMSNorm,
        head: nn.Module,
        rotary: RotaryTable,
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = head
        self.rotary = rotary
        self.before_layer: Callable[[], None] | None = None

    def reserve(self, cache: KVCache, length: int) -> None:
        """Have room and rotations for that many positions, so that a forward up to there allocates neither.

        Raises:
            ValueError: more than the model's context.
        """
        cache.reserve(length)
        self.rotary.reserve(cache.capacity)

    def forward(self, ids_T: Tensor, cache: KVCache) -> Tensor:
        """The stream after the last layer, [T, D]; the cache grows by T positions."""
        start, stop = cache.length, cache.length + len(ids_T)
        self.reserve(cache, stop)
        rotations_TP = self.rotary.rows(start, stop)
        x_TD: Tensor = self.embedding(ids_T)
        mask_TS = causal_mask(start, stop, x_TD.dtype, x_TD.device)
        for block in self.blocks:
            if self.before_layer is not None:
                self.before_layer()
            x_TD = block(x_TD, rotations_TP, mask_TS, cache)
        cache.advance(len(ids_T))
        return x_TD

    def logits(self, x_TD: Tensor) -> Tensor:
        """What the stream says comes next, f32 [T, V]."""
        out: Tensor = self.head(self.norm(x_TD)).float()
        return out
