"""The steps of the feed-forward part, and the stream behind the layer.

Shapes: T positions, D width, F FFN width.
"""

from __future__ import annotations

import torch

from llama_chat.drawing.views import Axis, StepView, Table
from llama_chat.walk.attention_steps import length_rows
from llama_chat.walk.layer_parts import LayerParts
from llama_chat.walk.plain import grid_of, length, number, percent
from llama_chat.walk.scene import Scene


def swiglu_step(scene: Scene, parts: LayerParts) -> StepView:
    """Each token by itself through a wide layer."""
    hidden_TF, gate_TF, out_TD = parts["ffn_hidden"], parts["gate"], parts["ffn_output"]
    f = hidden_TF.shape[-1]
    open_count = int((gate_TF[-1] > 0).sum())
    strongest = int(hidden_TF[-1].abs().argmax())
    sentences = (
        "The stream is normalised again, and now each token goes on by itself; tokens met in attention only.",
        f"Two products turn its {scene.config.dim:,} numbers into {f:,} gates and {f:,} ups. silu(gate) · "
        "up, number by number, lets through what a gate opens and almost closes what is below 0; a third "
        f"product brings the {f:,} back to {scene.config.dim:,}.",
        f"For {scene.last} {open_count:,} of the {f:,} gates are above 0 ({percent(open_count / f)}); the "
        f"strongest unit is number {strongest:,} with {number(float(hidden_TF[-1, strongest]))}.",
    )
    grids = (
        grid_of("silu(gate) · up", scene.tokens(), Axis("F", f), hidden_TF),
        scene.stream_grid("brought back", out_TD),
    )
    shapes = [
        *(("n", "TD", parts["ffn_norm"]), ("gate", "TF", gate_TF), ("up", "TF", parts["up"])),
        *(("silu(gate) · up", "TF", hidden_TF), ("f", "TD", out_TD)),
    ]
    return scene.view("swiglu", sentences, shapes, parts, grids=grids)


def layer_step(scene: Scene, parts: LayerParts) -> StepView:
    """The stream behind the layer."""
    before, added = parts["residual_attention"], parts["ffn_output"]
    after = scene.passed.streams[parts.layer + 1]
    left = scene.config.n_layers - parts.layer - 1
    read = parts["layer_input"][-1].float()
    cosine = float(torch.cosine_similarity(read, after[-1].float(), dim=0))
    sentences = (
        "That is added to the stream as well, and the layer is done.",
        f"The row of {scene.last} was {number(length(read))} long when the layer began and is "
        f"{number(length(after[-1]))} long now; the cosine between the two is {cosine:.2f} (1: the same "
        "direction, 0: nothing in common).",
        f"{left:,} more layer{'s' if left > 1 else ''} with other weights do{'es' if left == 1 else ''} the "
        "same."
        if left
        else "It was the last layer.",
    )
    rows = length_rows(scene, before, added, after)
    table = Table("Lengths of the rows", ("position", "token", "before", "added", "after"), rows)
    grid = scene.stream_grid(f"the stream after layer {parts.layer + 1}", after)
    return scene.view("layer", sentences, [("x", "TD", after)], parts, grids=(grid,), tables=(table,))
