"""Where a token looks, over all layers and heads.

The attention of one group of heads is in memory at a time. Shapes: T positions, S the same looked at, H query
heads, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llama_chat.engine.probing import Place
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.walk.passing import Passed, run_attention


def looks_from(network: ScratchNetwork, passed: Passed, at: int) -> Tensor:
    """The attention of every head from one position, [L, H, S]."""
    rows: list[Tensor] = []

    def see(place: Place, _layer: int, values_R1S: Tensor) -> None:
        if place == "weights":
            rows.append(values_R1S[:, 0].clone())

    n_layers = network.llama.config.n_layers
    for layer in range(n_layers):
        run_attention(network, passed, layer, see, row=at)
    return torch.cat(rows).view(n_layers, -1, len(passed.streams[0]))


@torch.inference_mode()
def rollout_from(network: ScratchNetwork, passed: Passed, at: int) -> Tensor:
    """What has come to one position from each, through all layers, [S]; sums to 1.

    Attention rollout: each layer hands on half of the stream as it is, and half by the mean of its heads'
    attention (Abnar and Zuidema, arXiv:2005.00928). From the last layer to the first, so that a vector
    suffices.
    """
    share_S = torch.zeros(len(passed.streams[0]), device=passed.streams[0].device)
    share_S[at] = 1.0
    for layer in reversed(range(network.llama.config.n_layers)):
        share_S = (share_S + share_S @ _mean_attention(network, passed, layer)) / 2
    return share_S


def _mean_attention(network: ScratchNetwork, passed: Passed, layer: int) -> Tensor:
    """Over the heads of a layer, [T, S]."""
    total: list[Tensor] = []

    def see(place: Place, _layer: int, values_RTS: Tensor) -> None:
        if place == "weights":
            part_TS = values_RTS.sum(0)
            if total:
                total[0] += part_TS
            else:
                total.append(part_TS)

    run_attention(network, passed, layer, see)
    return total[0] / network.llama.config.n_heads
