"""One layer in operations that Inductor fuses: for one new token, and for several.

Shapes: T new positions, S cached positions (the new ones included), C positions that the cache has room for,
D width, H query heads, G key/value heads, R = H / G heads that share one, K head size, P = K / 2 pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  (the name that every PyTorch reader expects)
from torch import Tensor, nn

from llama_chat.engine.fused.words import attend_words, packed
from llama_chat.engine.int8_cache import dequantised, quantised
from llama_chat.engine.model import Block, attend

_PLAIN = 2
"""Tensors of a cache without scales."""


class FusedLayer(nn.Module):
    """What `Block` computes for one row, with attention written out in f32.

    Multiply and sum, not matrix products: those fuse with what is around them. Queries are scaled before and
    sums divided after, which is a division a value and not one a position.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(
        self,
        x_1D: Tensor,
        rotation_P2: Tensor,
        position_1: Tensor,
        seen_S: Tensor,
        stores: Sequence[Tensor],
    ) -> Tensor:
        """The stream after the layer, [1, D]; writes the token's keys and values.

        Args:
            x_1D: the stream before it.
            rotation_P2: cos and sin of the position's angles.
            position_1: int64, where the keys and values go.
            seen_S: only its length counts: how many positions are seen, the new one being the last.
            stores: of the layer's cache, changed in place: keys and values, [G, C, K] each; or in 8 bits
                as `words`, [G, C, K / 4] each, and the scales of both, [G, C] each.
        """
        attention = self.block.attention
        h, g, k = attention.n_heads, attention.n_kv_heads, attention.head_dim
        heads = attention.qkv(self.block.attention_norm(x_1D)).view(h + 2 * g, k)
        turned = turn(heads[None, : h + g], rotation_P2[None])[0]
        new = [turned[h:].view(g, 1, k), heads[h + g :].view(g, 1, k)]
        queries_GRK = (turned[:h].float() * k**-0.5).view(g, h // g, k)
        s = seen_S.shape[0]  # not len(), which would fix it
        if len(stores) == _PLAIN:
            _put(stores, position_1, new)
            gathered_GRK = attend_one(queries_GRK, *(store[:, :s].float() for store in stores))
        else:
            values, scales = zip(*map(quantised, new), strict=True)
            _put(stores, position_1, [*map(packed, values), *scales])
            keys_GSW, values_GSW, key_scales_GS, value_scales_GS = (store[:, :s] for store in stores)
            gathered_GRK = attend_words(queries_GRK, keys_GSW, key_scales_GS, values_GSW, value_scales_GS)
        x_1D = x_1D + attention.output(gathered_GRK.to(x_1D.dtype).view(1, h * k))
        out_1D: Tensor = x_1D + self.block.ffn(self.block.ffn_norm(x_1D))
        return out_1D


class FusedRows(nn.Module):
    """What `Block` computes for several rows; attention is torch's own.

    Args:
        block: whose weights it takes.
        is_dense: whether the weights of the products come with each call, in x's dtype (`engine.unpacked`).
    """

    def __init__(self, block: Block, *, is_dense: bool) -> None:
        super().__init__()
        self.block = block
        self.is_dense = is_dense

    def forward(
        self,
        x_TD: Tensor,
        rotations_TP2: Tensor,
        positions_T: Tensor,
        seen_S: Tensor,
        mask_TS: Tensor,
        stores: Sequence[Tensor],
        dense: Sequence[Tensor],
    ) -> Tensor:
        """The stream after the layer, [T, D]; writes the tokens' keys and values.

        Args:
            x_TD: the stream before it.
            rotations_TP2: cos and sin of the positions' angles.
            positions_T: int64, where the keys and values go.
            seen_S: only its length counts: how many positions are seen.
            mask_TS: as `causal_mask` makes it.
            stores: of the layer's cache, changed in place: keys and values, [G, C, K] each, and where those
                are int8 the scales of both, [G, C] each.
            dense: the weights of the four products, in the order of the computation; none where they are
                the block's own.
        """
        block, attention, s = self.block, self.block.attention, seen_S.shape[0]
        h, g, k = attention.n_heads, attention.n_kv_heads, attention.head_dim
        t = x_TD.shape[0]
        qkv, output, gate_up, down = (
            [_Product(weight) for weight in dense]
            if self.is_dense
            else [attention.qkv, attention.output, block.ffn.gate_up, block.ffn.down]
        )
        heads = qkv(block.attention_norm(x_TD)).view(t, h + 2 * g, k)
        turned = turn(heads[:, : h + g], rotations_TP2)
        new = [turned[:, h:].transpose(0, 1), heads[:, h + g :].transpose(0, 1)]
        if len(stores) == _PLAIN:
            _put(stores, positions_T, new)
            keys_GSK, values_GSK = (store[:, :s] for store in stores)
        else:
            values, scales = zip(*map(quantised, new), strict=True)
            _put(stores, positions_T, [*values, *scales])
            keys_GSK, values_GSK = (
                dequantised(store[:, :s], scales_GC[:, :s], x_TD.dtype)
                for store, scales_GC in zip(stores[:2], stores[2:], strict=True)
            )
        out_THK = attend(turned[:, :h], keys_GSK, values_GSK, mask_TS)
        x_TD = x_TD + output(out_THK.reshape(t, h * k))
        gate_TF, up_TF = gate_up(block.ffn_norm(x_TD)).chunk(2, dim=-1)
        out_TD: Tensor = x_TD + down(F.silu(gate_TF) * up_TF)
        return out_TD


def _put(stores: Sequence[Tensor], positions_T: Tensor, new: Sequence[Tensor]) -> None:
    for store, values in zip(stores, new, strict=True):
        store.index_copy_(1, positions_T, values)


class _Product:
    """x @ Wᵀ with a weight that is an input of the compiled code."""

    def __init__(self, weight_ND: Tensor) -> None:
        self._weight_ND = weight_ND

    def __call__(self, x_TD: Tensor) -> Tensor:
        return F.linear(x_TD, self._weight_ND)


def turn(x_THK: Tensor, rotations_TP2: Tensor) -> Tensor:
    """What `model.rotate` gives, without complex numbers, which Inductor does not compile."""
    pairs = x_THK.float().unflatten(-1, (-1, 2))
    cos, sin = rotations_TP2[:, None, :, 0], rotations_TP2[:, None, :, 1]
    real, imaginary = pairs[..., 0], pairs[..., 1]
    turned = torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], -1)
    return turned.flatten(-2).to(x_THK.dtype)


def attend_one(queries_GRK: Tensor, keys_GSK: Tensor, values_GSK: Tensor) -> Tensor:
    """What one row gathers, [G, R, K]; the queries are scaled already.

    The R heads that share keys stand side by side, not in a dimension of their own: so Inductor's loop over
    the positions reads each key once for all of them, and sums them independently of each other.
    """
    scores = [(query_GK[:, None] * keys_GSK).sum(-1) for query_GK in queries_GRK.unbind(1)]
    weights = [(scores_GS - scores_GS.amax(-1, keepdim=True)).exp() for scores_GS in scores]
    sums = [(weights_GS[..., None] * values_GSK).sum(1) for weights_GS in weights]
    totals = [weights_GS.sum(-1, keepdim=True) for weights_GS in weights]
    return torch.stack([sum_GK / total_G1 for sum_GK, total_G1 in zip(sums, totals, strict=True)], 1)
