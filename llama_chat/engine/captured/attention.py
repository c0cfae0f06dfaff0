"""Attention of one new position over a fixed length of the cache; only the GPU knows how much of it counts.

Two ways, of which the first that gives the right numbers on the user's GPU is taken (`trial`): torch's kernel
for sequences of several lengths reads on the GPU where to stop, and shares one sequence among many processors
of it; with a mask, which every device takes, all of the length is read, by one processor for each head.

Shapes: S the length, H query heads, G key/value heads, K head size.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812  (the name that every PyTorch reader expects)
from torch import Tensor


class StepAttention(Protocol):
    """One of the ways."""

    name: str
    """Of a step with it, for the record. The number stands for what is computed: it changes with that."""

    def seen(self, position_1: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """What of the length counts, in the form that `attend` takes; the same for all layers."""
        ...

    def attend(self, q_1HK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, seen: Tensor) -> Tensor:
        """What the position gathers from those before it and itself, [1, H, K]."""
        ...


class FlashAttention:
    """By torch's `varlen_attn`: NVIDIA from sm_80 on, in 16 bits, from the torch on that has `seqused_k`.

    Written by its documentation (torch 2.13) and by its source (`mha_varlen_fwd` in `flash_api.cpp`, which
    shares a sequence among processors where query heads share keys); it does not run on a CPU.
    """

    name = "captured flash 1"

    def seen(self, position_1: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """How many positions, int32 [1]."""
        del length, dtype
        return (position_1 + 1).to(torch.int32)

    def attend(self, q_1HK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, seen: Tensor) -> Tensor:
        """One sequence of one query, in a place of S keys."""
        from torch.nn.attention.varlen import varlen_attn  # some builds of torch have none

        length, device = keys_GSK.shape[1], q_1HK.device
        out_1HK: Tensor = varlen_attn(  # type: ignore[assignment]  # the logarithms are not asked for
            q_1HK,
            keys_GSK.transpose(0, 1),
            values_GSK.transpose(0, 1),
            torch.arange(2, dtype=torch.int32, device=device),
            torch.arange(0, 2 * length, length, dtype=torch.int32, device=device),
            1,
            length,
            enable_gqa=True,
            seqused_k=seen,
        )
        return out_1HK


class MaskedAttention:
    """By `scaled_dot_product_attention` and a mask, the heads that share keys as rows of one."""

    name = "captured masked 1"

    def seen(self, position_1: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """0 up to the position, -inf behind it, [1, S]."""
        places_S = torch.arange(length, device=position_1.device)
        zeros_S = torch.zeros(length, dtype=dtype, device=position_1.device)
        return zeros_S.masked_fill(places_S > position_1, -torch.inf)[None]

    def attend(self, q_1HK: Tensor, keys_GSK: Tensor, values_GSK: Tensor, seen: Tensor) -> Tensor:
        """As in `model.attend_grouped`."""
        (_, h, k), g = q_1HK.shape, len(keys_GSK)
        rows_1GNK = q_1HK.view(1, g, h // g, k)
        out_1GNK = F.scaled_dot_product_attention(rows_1GNK, keys_GSK[None], values_GSK[None], attn_mask=seen)
        return out_1GNK.reshape(1, h, k)


ATTENTIONS: tuple[StepAttention, ...] = (FlashAttention(), MaskedAttention())
"""In the order in which they are tried."""
