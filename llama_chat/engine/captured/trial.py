"""The captured step tried on the user's own GPU, when a model is loaded: it was not tested on one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from llama_chat.engine.cache import KVCache
from llama_chat.engine.captured.attention import ATTENTIONS
from llama_chat.engine.captured.recording import WARM_UP_RUNS, Capture, first_line
from llama_chat.engine.captured.step import CapturedStep
from llama_chat.engine.model import Llama

AGREES_NATS = 0.02
"""Largest mean KL of the two. On the default model in bf16 the CPU's kernels leave 0.0025; a place off by
one, no rotation, no mask give 0.07 to 0.25, 0.75 and 5.5 (2026-11-23)."""

_PROMPT_TOKENS = 8
_STEPS = WARM_UP_RUNS + 2  # until one comes out of a graph


@torch.inference_mode()
def tried_step(
    llama: Llama, new_cache: Callable[[], KVCache], capture: Capture | None
) -> tuple[CapturedStep | None, str]:
    """The captured step of the network, or why there is none; neither where the device records no graphs.

    A few steps both ways on a cache of its own, until one was played out of a graph. They load the kernels
    that the first reply will need.
    """
    if capture is None:
        return None, ""
    found, obstacle = None, ""
    for attention in ATTENTIONS:
        step = CapturedStep(llama, Capture(capture.recorder), attention)
        obstacle = _obstacle(step, llama, new_cache())
        if not obstacle and not step.failure:
            return step, ""
        # Right but not recorded: who must follow a plan with its name still can.
        found, obstacle = (step, step.failure) if not obstacle else (found, obstacle)
    return found, obstacle


def _obstacle(step: CapturedStep, llama: Llama, cache: KVCache) -> str:
    """Why the step cannot be used here; empty where it gives what the plain one gives."""
    if cache.limit < _PROMPT_TOKENS + _STEPS:
        return "the context is too short to try it"
    if not cache.keys[0].is_floating_point():
        return "its keys and values are in few bits"
    try:
        is_right = _gives_the_same(step, llama, cache)
    except (RuntimeError, ImportError, TypeError) as error:  # torch's words for "not here", or not yet
        return first_line(error)
    return "" if is_right else "it gives other numbers than the plain one"


def _gives_the_same(step: CapturedStep, llama: Llama, cache: KVCache) -> bool:
    device, vocab_size = llama.rotary.device, llama.config.vocab_size
    ids = [(vocab_size // 3 + 1009 * place) % vocab_size for place in range(_PROMPT_TOKENS + _STEPS)]
    llama(torch.tensor(ids[:_PROMPT_TOKENS], device=device), cache)
    twin, divergence = cache.fork(), 0.0
    for token_id in ids[_PROMPT_TOKENS:]:
        wanted_V = llama.logits(llama(torch.full((1,), token_id, device=device), cache))[0].log_softmax(-1)
        got_V = step.forward(token_id, twin).log_softmax(-1)
        divergence += float((wanted_V.exp() * (wanted_V - got_V)).sum())
    return divergence / _STEPS <= AGREES_NATS  # no number is not, either
