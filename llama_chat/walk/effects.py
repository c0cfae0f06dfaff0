"""What each head of each layer does to the next token: how far the distribution moves without it.

Shapes: L layers, H query heads, T positions, V vocabulary.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from llama_chat.alteration import Alteration
from llama_chat.drawing.views import Axis, Step, StepView
from llama_chat.engine.model import Block, causal_mask
from llama_chat.errors import Interrupted
from llama_chat.walk.comparing import kl_bits
from llama_chat.walk.plain import grid_of, shape_of
from llama_chat.walk.scene import Scene

EFFECTS = Step("effects", "What each head does to the next token", "KL(p ‖ p without the head)")
"""No step of the walk: it takes a pass for every head."""


@torch.inference_mode()
def head_effects(
    scene: Scene, cancel: threading.Event, report: Callable[[float], None] = lambda _: None
) -> Tensor:
    """In bits, [L, H]: how far the next token's distribution is from that without the head.

    Each head costs the layers from its own on, in the kernels that chats run on; so does what they are held
    against, as eager and fused differ by as much as a weak head does.

    Raises:
        Interrupted: `cancel` was set; or `report`, which is called after every head, raised it.
    """
    config, network = scene.config, scene.network
    effects_LH = torch.zeros(config.n_layers, config.n_heads)
    done, all_of_it = 0, config.n_heads * sum(range(1, config.n_layers + 1))
    for layer in range(config.n_layers):
        with network.altered(scene.alteration):
            before = _logprobs(scene, layer, cancel)
        for head in range(config.n_heads):
            with network.altered(scene.alteration.and_then(Alteration({(layer, head): 0.0}))):
                effects_LH[layer, head] = kl_bits(before, _logprobs(scene, layer, cancel))
            done += config.n_layers - layer
            report(done / all_of_it)
    return effects_LH


def _logprobs(scene: Scene, layer: int, cancel: threading.Event) -> Tensor:
    """Of the next token, by the layers from this one on; f64 [V]."""
    network, passed = scene.network, scene.passed
    x_TD = passed.streams[layer]
    rotations_TP = network.llama.rotary.rows(0, len(x_TD))
    mask_TS = causal_mask(0, len(x_TD), x_TD.dtype, x_TD.device)
    for module in network.llama.blocks[layer:]:
        if cancel.is_set():
            raise Interrupted("Stopped")
        passed.cache.rewind(0)
        x_TD = cast(Block, module)(x_TD, rotations_TP, mask_TS, passed.cache)
    return network.llama.logits(x_TD[-1:])[0].cpu().double().log_softmax(-1)


def effects_view(effects_LH: Tensor) -> StepView:
    """The effects as a heat map, and the strongest in words."""
    n_layers, n_heads = effects_LH.shape
    layers = Axis("L", n_layers, tuple(f"layer {n + 1}" for n in range(n_layers)))
    heads = Axis("H", n_heads, tuple(f"{n + 1}" for n in range(n_heads)))
    top = effects_LH.flatten().topk(min(5, effects_LH.numel()))
    named = [
        f"layer {place // n_heads + 1} head {place % n_heads + 1} ({bits:.3g})"
        for place, bits in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
    sentences = (
        "Each head is switched off alone, and the next token's distribution held against the one with all of "
        "them: how far they are apart, in bits (Kullback-Leibler divergence). 0 is no difference.",
        f"The next token depends most on {', '.join(named)}.",
        f"All other heads stay below {float(top.values[-1]):.2g} bits: on a text, most heads can be missed "
        "one by one; together they cannot.",
    )
    grid = grid_of("bits that the next token moves without the head", layers, heads, effects_LH)
    shapes = (shape_of("effects", "LH", effects_LH),)
    return StepView(EFFECTS, 0, None, None, sentences, shapes, (grid,))
