"""The text through the network once, eagerly and with probes; and on the path that chats run on.

What is kept is the residual stream that each layer reads, and the keys and values. Any layer can be run again
from there, by its own modules; so only one layer's attention is in memory at a time.

Shapes: T positions, L layers, D width, H query heads, G key/value heads, K head size, V vocabulary.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from llama_chat.drawing.views import Difference
from llama_chat.engine.cache import KVCache
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.model import Block, causal_mask
from llama_chat.engine.probing import Place, See, probing
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import Interrupted, ModelError


@dataclass(frozen=True, slots=True)
class Passed:
    """What is left of a pass."""

    embedding: Tensor
    """[T, D]."""
    streams: tuple[Tensor, ...]
    """[T, D] each: what layer 0 reads, and so on; the last one is what the final norm reads."""
    final_norm: Tensor
    """[D], of the last position, as the next."""
    logits: Tensor
    """[V]."""
    cache: KVCache


@torch.inference_mode()
def passed_until(network: ScratchNetwork, passed: Passed, position: int) -> Passed:
    """What would be left of a pass that ended with that position: what comes later changed nothing of it.

    The streams are views of those that are there, and the cache is the same one: whoever runs a layer writes
    the keys that it reads.
    """
    streams = tuple(x_TD[: position + 1] for x_TD in passed.streams)
    kept: list[Tensor] = []
    with probing(
        network.llama, lambda place, _, out: kept.append(out[-1]) if place == "final_norm" else None
    ):
        logits_V = network.llama.logits(streams[-1][-1:])[0]
    _check(streams, logits_V)
    return Passed(passed.embedding[: position + 1], streams, kept[0], logits_V, passed.cache)


@torch.inference_mode()
def passed_from(network: ScratchNetwork, passed: Passed, layer: int, cancel: threading.Event) -> Passed:
    """What would be left of a pass in which all before that layer is as it was: the network is altered there.

    Raises:
        ModelError: what comes out is no number.
        Interrupted: `cancel` was set.
    """
    llama, x_TD = network.llama, passed.streams[layer]
    rotations_TP, mask_TS = _rows_and_mask(network, passed)
    streams, kept = [*passed.streams[: layer + 1]], list[Tensor]()
    with probing(llama, lambda place, _, out: kept.append(out[-1]) if place == "final_norm" else None, ()):
        for at in range(layer, llama.config.n_layers):
            if cancel.is_set():
                raise Interrupted("Stopped")
            passed.cache.rewind(0)
            x_TD = _block(network, at)(x_TD, rotations_TP, mask_TS, passed.cache)
            streams.append(x_TD)
        logits_V = llama.logits(x_TD[-1:])[0]
    _check(streams, logits_V)
    return Passed(passed.embedding, tuple(streams), kept[0], logits_V, passed.cache)


@torch.inference_mode()
def pass_through(
    network: ScratchNetwork,
    ids: Sequence[int],
    cancel: threading.Event,
    report: Callable[[float], None] = lambda _: None,
) -> Passed:
    """The pass over the ids, from an empty cache; `report` hears the fraction that is done, layer by layer.

    Raises:
        ModelError: what comes out is no number; says after which layer it was lost.
        Interrupted: `cancel` was set.
    """
    llama, cache = network.llama, network.new_cache()
    kept: dict[tuple[Place, int], Tensor] = {}

    def see(place: Place, layer: int, values: Tensor) -> None:
        if cancel.is_set():
            raise Interrupted("Stopped")
        if place == "layer_input":
            report(layer / llama.config.n_layers)
        if place in ("embedding", "layer_input"):
            kept[place, layer] = values
        elif place == "final_norm":
            kept[place, layer] = values[-1]

    with probing(llama, see):
        x_TD = llama(torch.tensor(ids, device=network.precision.device), cache)
        logits_V = llama.logits(x_TD[-1:])[0]
    n_layers = llama.config.n_layers
    streams = (*(kept["layer_input", layer] for layer in range(n_layers)), x_TD)
    _check(streams, logits_V)
    return Passed(kept["embedding", -1], streams, kept["final_norm", -1], logits_V, cache)


def running_logits(network: ScratchNetwork, ids: Sequence[int], cancel: threading.Event) -> Tensor:
    """The logits behind the last id as a chat has them, [V]: in its chunks, by its kernels, unprobed.

    Raises:
        Interrupted: `cancel` was set.
    """
    for logits_V in LiveCache(network).prefill(ids, cancel.is_set):
        if logits_V is not None:
            return logits_V
    raise Interrupted("Stopped")


@torch.inference_mode()
def run_layer(network: ScratchNetwork, passed: Passed, layer: int, see: See) -> None:
    """The layer once more on the stream that it read, with the probe; it writes the keys that were there."""
    rotations_TP, mask_TS = _rows_and_mask(network, passed)
    passed.cache.rewind(0)
    with probing(network.llama, see, layers=(layer,)):
        _block(network, layer)(passed.streams[layer], rotations_TP, mask_TS, passed.cache)


@torch.inference_mode()
def run_attention(
    network: ScratchNetwork, passed: Passed, layer: int, see: See, *, row: int | None = None
) -> None:
    """The same without the feed-forward part; of all positions, or of one."""
    rotations_TP, mask_TS = _rows_and_mask(network, passed)
    passed.cache.rewind(0)
    block = _block(network, layer)
    with probing(network.llama, see, layers=(layer,), row=row):
        block.attention(block.attention_norm(passed.streams[layer]), rotations_TP, mask_TS, passed.cache)


def _block(network: ScratchNetwork, layer: int) -> Block:
    return cast(Block, network.llama.blocks[layer])


def _rows_and_mask(network: ScratchNetwork, passed: Passed) -> tuple[Tensor, Tensor | None]:
    x_TD = passed.streams[0]
    return network.llama.rotary.rows(0, len(x_TD)), causal_mask(0, len(x_TD), x_TD.dtype, x_TD.device)


@torch.inference_mode()
def difference_of(ours_V: Tensor, running_V: Tensor) -> Difference:
    """Of the logits of the pass and of the running path."""
    # Apple's GPUs have no f64.
    ours, running = (logits_V.cpu().double().log_softmax(-1) for logits_V in (ours_V, running_V))
    return Difference(
        largest=float((ours_V - running_V).abs().max()),
        kl=max(0.0, float((running.exp() * (running - ours)).sum())),
        is_same_top=int(ours_V.argmax()) == int(running_V.argmax()),
    )


def _check(streams: Sequence[Tensor], logits_V: Tensor) -> None:
    """Raises `ModelError` where the logits are no numbers, and says where the stream was lost."""
    if bool(logits_V.isfinite().all()):
        return
    what = "no number (NaN)" if bool(logits_V.isnan().any()) else "infinity"
    lost = next((n for n, x_TD in enumerate(streams) if not bool(x_TD.isfinite().all())), None)
    where = "" if lost is None else ", already in the embeddings" if lost == 0 else f", from layer {lost} on"
    raise ModelError(
        f"The model gave {what} as a logit of the next token{where}",
        hint="Its weights may be damaged, or the precision too low for it: try --dtype f32.",
    )
