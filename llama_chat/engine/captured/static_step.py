"""The decode step on tensors that stay where they are: what it reads of the moment are one id and one place.

It is handed a fixed length of the cache, and what of it counts is worked out on the device. So it does the
same launches with the same addresses for every token, and can be recorded.

Shapes: 1 new position, S the length that is handed in, D width, H query heads, G key/value heads, K head
size, P = K / 2 pairs, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from llama_chat.engine.captured.attention import StepAttention
from llama_chat.engine.model import Attention, Block, Llama, rotate


class StepTensors(NamedTuple):
    """What goes in and what comes out."""

    id_1: Tensor
    """int64 [1]."""
    position_1: Tensor
    """int64 [1]."""
    logits_V: Tensor  # noqa: N815  (it wears its shape)
    """f32 [V]."""

    def tell(self, token_id: int, position: int) -> None:
        """Set the input. A number goes with the kernel: nothing is copied, and the host does not wait."""
        self.id_1.fill_(token_id)
        self.position_1.fill_(position)


def step_tensors(vocab_size: int, device: torch.device) -> StepTensors:
    """Tensors for the steps of one network."""
    id_1, position_1 = torch.zeros(2, 1, dtype=torch.int64, device=device).unbind()
    return StepTensors(id_1, position_1, torch.zeros(vocab_size, device=device))


class _Place(NamedTuple):
    """What all layers need to know of the new position."""

    position_1: Tensor
    rotations_1P: Tensor  # noqa: N815  (it wears its shape)
    seen: Tensor
    """From `StepAttention.seen`."""
    length: int


def static_step(
    llama: Llama,
    tensors: StepTensors,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    length: int,
    attention: StepAttention,
) -> None:
    """Write the logits behind the token, and its keys and values into the cache.

    Args:
        llama: the network; its own modules compute.
        tensors: the token and its position, smaller than `length`.
        keys: of each layer, [G, capacity, K]; filled up to the position.
        values: likewise.
        length: S, at most the capacity.
        attention: how.
    """
    x_1D: Tensor = llama.embedding(tensors.id_1)
    place = _Place(
        tensors.position_1,
        llama.rotary.table.index_select(0, tensors.position_1),
        attention.seen(tensors.position_1, length, x_1D.dtype),
        length,
    )
    for module, keys_GCK, values_GCK in zip(llama.blocks, keys, values, strict=True):
        block = cast(Block, module)
        normed_1D = block.attention_norm(x_1D)
        x_1D = x_1D + _mixed(block.attention, normed_1D, place, keys_GCK, values_GCK, attention)
        x_1D = x_1D + block.ffn(block.ffn_norm(x_1D))
    tensors.logits_V.copy_(llama.logits(x_1D)[0])


def _mixed(
    module: Attention,
    x_1D: Tensor,
    place: _Place,
    keys_GCK: Tensor,
    values_GCK: Tensor,
    attention: StepAttention,
) -> Tensor:
    """What `Attention.forward` gives for one position, [1, D]."""
    h, g, k = module.n_heads, module.n_kv_heads, module.head_dim
    heads = module.qkv(x_1D).view(1, h + 2 * g, k)
    turned = rotate(heads[:, : h + g], place.rotations_1P)
    keys_GCK.index_copy_(1, place.position_1, turned[:, h:].transpose(0, 1))
    values_GCK.index_copy_(1, place.position_1, heads[:, h + g :].transpose(0, 1))
    keys_GSK, values_GSK = keys_GCK[:, : place.length], values_GCK[:, : place.length]
    out_1HK = attention.attend(turned[:, :h], keys_GSK, values_GSK, place.seen)
    mixed_1D: Tensor = module.output(out_1HK.reshape(1, h * k))
    return mixed_1D
