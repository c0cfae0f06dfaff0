"""The logit lens: what the model would say next if it ended after each of its layers.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.walk.passing import Passed

LENS_TOP = 5


@dataclass(frozen=True, slots=True)
class LensLine:
    """What would be said after one layer."""

    layer: int
    """Layers that are done: 0 for the embeddings alone."""
    token_ids: tuple[int, ...]
    """The likeliest first."""
    shares: tuple[float, ...]
    final_rank: int
    """Of the token that the model says in the end, from 0."""


@torch.inference_mode()
def lens_logits(network: ScratchNetwork, passed: Passed, at: int = -1) -> Tensor:
    """The final norm and the output product on the stream of every layer, [L + 1, V]."""
    return network.llama.logits(torch.stack([x_TD[at] for x_TD in passed.streams]))


def lens_lines(
    network: ScratchNetwork, passed: Passed, at: int = -1, count: int = LENS_TOP
) -> tuple[LensLine, ...]:
    """A line for the embeddings and one for every layer."""
    logits = lens_logits(network, passed, at)
    top = logits.softmax(-1).topk(min(count, logits.shape[-1]))
    said = logits[-1].argmax()
    ranks = (logits > logits[:, said, None]).sum(-1).tolist()
    rows = zip(top.indices.tolist(), top.values.tolist(), ranks, strict=True)
    return tuple(LensLine(n, tuple(ids), tuple(shares), rank) for n, (ids, shares, rank) in enumerate(rows))
