"""What happens inside one layer, seen from one of its heads.

Shapes: T positions, S the same looked at, H query heads, K head size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llama_chat.engine.probing import Place
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.walk.passing import Passed, run_layer

_OF_ONE_HEAD = ("scores", "masked", "weights")


@dataclass(frozen=True, slots=True)
class LayerParts:
    """The places of a layer; of scores and weights only one head's, as they grow with T²."""

    layer: int
    head: int
    at: dict[Place, Tensor]
    """As `probing.PLACES` has their shapes; `scores`, `masked` and `weights` [T, S]."""
    heads: Tensor
    last_weights: Tensor
    """What the last position looks at, by head."""

    def __getitem__(self, place: Place) -> Tensor:
        return self.at[place]


def look_into_layer(network: ScratchNetwork, passed: Passed, layer: int, head: int) -> LayerParts:
    """The layer's parts, computed once more."""
    config = network.llama.config
    per_group = config.n_heads // config.n_kv_heads
    group, inner = divmod(head, per_group)
    at: dict[Place, Tensor] = {}
    heads: list[Tensor] = []
    last_weights: list[Tensor] = []

    def see(place: Place, _layer: int, values: Tensor) -> None:
        if place in _OF_ONE_HEAD:
            if len(heads) == group:  # as many groups are done
                at[place] = values[inner].clone()  # the others of its group are let go
            if place == "weights":
                last_weights.append(values[:, -1].clone())
        elif place == "heads":
            heads.append(values)
        else:
            at[place] = values

    run_layer(network, passed, layer, see)
    return LayerParts(layer, head, at, torch.cat(heads).transpose(0, 1), torch.cat(last_weights))
