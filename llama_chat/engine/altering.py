"""Altering a `Llama` where it computes: heads and layers switched off or scaled, inside its own modules.

By torch's forward hooks, as `probing` does it, on whatever product the module is: dense, 8 or 4 bits. A head
is scaled in what the output product reads, a layer in what it has added to the stream. Unaltered, no hook is
there and nothing is paid. All that runs is eager; should a fused step come to be, it must stand aside where
`ScratchNetwork.altered_by` is not empty.

Shapes: T new positions, D width, H query heads, K head size.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from llama_chat.alteration import Alteration
from llama_chat.engine.model import Attention, Block, Llama


def put_in(llama: Llama, alteration: Alteration) -> Callable[[], None]:
    """Alter the network from its next forward on; what comes back takes the alteration out again.

    Raises:
        UsageError: the network has no such layer or head.
    """
    alteration.check(llama.config.n_layers, llama.config.n_heads)
    undo = ExitStack()
    for layer, module in enumerate(llama.blocks):
        block = cast(Block, module)
        scales = {head: scale for (at, head), scale in alteration.heads.items() if at == layer}
        if scales:
            _scale_heads(undo, block.attention, scales)
        if layer in alteration.layers:
            _scale_layer(undo, block, alteration.layers[layer])
    return undo.close


def _scale_heads(undo: ExitStack, attention: Attention, scales: dict[int, float]) -> None:
    h, k = attention.n_heads, attention.head_dim
    scales_D = torch.tensor([scales.get(head, 1.0) for head in range(h)]).repeat_interleave(k)

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        nonlocal scales_D
        heads_TD = inputs[0]
        scales_D = scales_D.to(heads_TD.device)
        return (heads_TD * scales_D).to(heads_TD.dtype)

    undo.callback(attention.output.register_forward_pre_hook(hook).remove)


def _scale_layer(undo: ExitStack, block: Block, scale: float) -> None:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], out_TD: Tensor) -> Tensor:
        x_TD: Tensor = inputs[0]
        if scale == 0:
            return x_TD  # whatever the layer gave, were it no number
        return torch.lerp(x_TD.float(), out_TD.float(), scale).to(out_TD.dtype)

    undo.callback(block.register_forward_hook(hook).remove)


def altered_by(network: object) -> str:
    """The signature of the alteration that a network runs with; empty for those that know of none."""
    found = getattr(network, "altered_by", "")
    return found if isinstance(found, str) else ""
