"""The from-scratch Llama as a `Network`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.engine.altering import put_in
from llama_chat.engine.cache import KVCache
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.devices import device_label
from llama_chat.engine.files.checkpoint import ROPE_DIVISORS, Checkpoint
from llama_chat.engine.freeing import give_memory_back
from llama_chat.engine.model import Llama
from llama_chat.engine.network import Cache, LogitsWanted, NetworkInfo
from llama_chat.engine.weights import Precision, WeightBuilder, build_llama, running_dtype


class ScratchNetwork:
    """A `Llama` behind the Network seam."""

    def __init__(self, llama: Llama, precision: Precision, info: NetworkInfo) -> None:
        self.llama = llama
        self.precision = precision
        self._info = info
        self.alteration = UNALTERED
        self.altered_by = ""
        """Signature of the alteration: what was computed under one is of no use under another."""
        self._take_out: Callable[[], None] = lambda: None

    @property
    def info(self) -> NetworkInfo:
        """Sizes and whereabouts."""
        return self._info

    def new_cache(self) -> KVCache:
        """An empty cache; memory is taken as it fills."""
        config = self.llama.config
        return KVCache(
            config.n_layers,
            config.n_kv_heads,
            config.head_dim,
            self._info.context_length,
            self.precision.compute,
            self.precision.device,
        )

    @torch.inference_mode()
    def forward(self, token_ids: Sequence[int], cache: Cache, logits: LogitsWanted) -> Tensor | None:
        """Append the ids to the cache; f32 logits of none, the last ([V]) or all of them ([T, V])."""
        assert isinstance(cache, KVCache), "a cache of another network"
        ids_T = _ids_tensor(token_ids, self.precision.device)
        x_TD = self.llama(ids_T, cache)
        if logits == "none":
            return None
        if logits == "last":
            return self.llama.logits(x_TD[-1:])[0]
        return self.llama.logits(x_TD)

    def give_way_at(self, gate: Callable[[], None]) -> None:
        """Call the gate before every layer, where the processor computes them."""
        if self.precision.device.type == "cpu":
            self.llama.before_layer = gate

    def alter(self, alteration: Alteration) -> None:
        """Run like this from the next forward on.

        Raises:
            UsageError: there is no such layer or head; it runs as before.
        """
        take_out = put_in(self.llama, alteration)
        self._take_out()
        self._take_out, self.alteration, self.altered_by = take_out, alteration, alteration.signature

    @contextmanager
    def altered(self, alteration: Alteration) -> Iterator[None]:
        """Work on caches of its own during which the network runs like this."""
        before = self.alteration
        if alteration == before:
            yield
            return
        self.alter(alteration)
        try:
            yield
        finally:
            self.alter(before)

    def close(self) -> None:
        """Free the weights."""
        del self.llama
        give_memory_back()


def _ids_tensor(token_ids: Sequence[int], device: torch.device) -> Tensor:
    """Int64 [T]. One id is a number that a kernel writes: sending it would make the host wait for the GPU."""
    if len(token_ids) == 1:
        return torch.full((1,), token_ids[0], dtype=torch.int64, device=device)
    return torch.tensor(token_ids, dtype=torch.int64, device=device)


def load_scratch(
    checkpoint: Checkpoint,
    config: LlamaConfig,
    precision: Precision,
    *,
    context: int,
    threads: int,
    report: Callable[[float], None] = lambda _: None,
) -> ScratchNetwork:
    """The network of a checkpoint.

    Args:
        checkpoint: opened, its headers checked.
        config: its sizes, which fit its tensors.
        precision: from `choose_precision`.
        context: tokens of context; 0 takes what the model was made for.
        threads: processor threads in use, for the record.
        report: hears the fraction that is loaded.

    Raises:
        ModelError: a tensor is of a type that cannot be unpacked.
    """
    llama = build_llama(config, WeightBuilder(checkpoint, precision), report)
    kept = [info for name, info in checkpoint.tensors.items() if name != ROPE_DIVISORS]
    info = NetworkInfo(
        context_length=context or config.context_length,
        vocab_size=config.vocab_size,
        parameters=sum(torch.Size(info.shape).numel() for info in kept),
        weights_bytes=_bytes_of(llama),
        device=device_label(precision.device),
        dtype=running_dtype(checkpoint.tensors.values(), precision),
        threads=threads,
    )
    return ScratchNetwork(llama, precision, info)


def _bytes_of(llama: Llama) -> int:
    """What the weights take; those that two modules share (a tied output) are counted once."""
    tensors = (*llama.parameters(), *llama.buffers())
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
