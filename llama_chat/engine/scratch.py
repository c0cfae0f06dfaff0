"""The from-scratch Llama as a `Network`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.decode_steps import BEST, EAGER
from llama_chat.engine.altering import put_in
from llama_chat.engine.cache import KVCache
from llama_chat.engine.captured.recording import capture_for
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.devices import device_label
from llama_chat.engine.files.checkpoint import ROPE_DIVISORS, Checkpoint
from llama_chat.engine.freeing import give_memory_back
from llama_chat.engine.fused.shelf import StepShelf
from llama_chat.engine.fused.source import StepSource
from llama_chat.engine.fused.spec import spec_of
from llama_chat.engine.fused.step import FusedStep
from llama_chat.engine.int8_cache import Int8KVCache
from llama_chat.engine.model import Llama
from llama_chat.engine.network import Cache, LogitsWanted, NetworkInfo
from llama_chat.engine.packed.weights import Keeping, keep_built, weight_builder
from llama_chat.engine.unpacked import UnpackedLayers, unpacked_layers
from llama_chat.engine.weights import Precision, build_llama, running_dtype
from llama_chat.settings import KV_WORDS

if TYPE_CHECKING:
    from llama_chat.engine.captured.step import CapturedStep

_UNPACKED = ", prompts in bf16"


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
        self.steps: StepSource | None = None
        """Where a compiled decode step comes from; None where there is none for it."""
        self._step: FusedStep | None = None
        self.captured: CapturedStep | None = None
        """The decode step as a graph of the GPU; None where there is none."""
        self.capture_obstacle = ""
        """Why there is none though the device records graphs."""
        self._uses_captured = False
        self.unpacked: UnpackedLayers | None = None
        """The 4-bit matrices in 16 bits, for long prompts; None where there are none."""
        self._uses_unpacked = False
        self.keeping: Keeping | None = None
        """The built weights on their way to the cache folder; None where they are there, or not wanted."""

    @property
    def info(self) -> NetworkInfo:
        """Sizes and whereabouts."""
        return self._info

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of how it computes."""
        why = self.capture_obstacle and f"the GPU records no graph of it ({self.capture_obstacle})"
        if not why and self.steps is not None and (obstacle := self.steps.untold_obstacle()) is not None:
            why = f"it is not compiled ({obstacle})"
        return (f"Decoding is slower than it could be: {why}.",) if why else ()

    def new_cache(self) -> KVCache:
        """An empty cache; memory is taken as it fills."""
        config = self.llama.config
        kind = Int8KVCache if self.precision.kv_dtype == "int8" else KVCache
        return kind(
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
        if len(token_ids) == 1 and (captured := self._captured_now()) is not None:
            return _as_wanted(captured.forward(token_ids[0], cache), logits)
        ids_T = _ids_tensor(token_ids, self.precision.device)
        step = self._step
        computes = self.llama if step is None or self.altered_by or step.stands_aside() else step
        x_TD = computes.forward(ids_T, cache)
        if logits == "none":
            return None
        if logits == "last":
            return computes.logits(x_TD[-1:])[0]
        return computes.logits(x_TD)

    def try_capture(self) -> None:
        """Have the decode step recorded from now on, where the device records and gives what it should."""
        capture = capture_for(self.precision.device)
        if capture is not None:
            from llama_chat.engine.captured.trial import tried_step  # a GPU's only

            self.captured, self.capture_obstacle = tried_step(self.llama, self.new_cache, capture)

    def _captured_now(self) -> CapturedStep | None:
        """The captured step, if it counts and nobody changes or watches the network's own modules."""
        captured = self.captured if self._uses_captured and not self.altered_by else None
        return captured if captured is None or not captured.stands_aside() else None

    def give_way_at(self, gate: Callable[[], None]) -> None:
        """Call the gate before every layer, where the processor computes them."""
        if self.precision.device.type == "cpu":
            self.llama.before_layer = gate

    @property
    def step_name(self) -> str:
        """Which code computes a decode step, and in which form long prompts are multiplied."""
        counts = self.captured if self._uses_captured else self._step
        step = EAGER if counts is None or self.altered_by else counts.name
        return f"{step}{_UNPACKED}" if self._uses_unpacked else step

    def take_step(self, wanted: str) -> None:
        """Compute decode steps like that from the next forward on, as `HasSteps` has it."""
        name = wanted.removesuffix(_UNPACKED)
        step = self.steps.best() if self.steps is not None and name != EAGER else None
        self._step = step if step is not None and name in (BEST, step.name) else None
        if self.captured is not None:
            # Named, it counts where it cannot be recorded, too: it computes the same then, slowly.
            self._uses_captured = name == self.captured.name or (name == BEST and not self.captured.failure)
        if self.unpacked is not None:
            self._uses_unpacked = (wanted == BEST or name != wanted) and self.unpacked.look()
            self.unpacked.use(self._uses_unpacked)

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
        if self.keeping is not None:
            self.keeping.finish()
            self.keeping = None
        if self.steps is not None:
            self.steps.close()
        if self.unpacked is not None:
            self.unpacked.close()
        self.steps = self._step = self.unpacked = self.captured = None
        del self.llama
        give_memory_back()


def _as_wanted(logits_V: Tensor, wanted: LogitsWanted) -> Tensor | None:
    """The logits of one new id in the form that was asked for."""
    if wanted == "none":
        return None
    return logits_V if wanted == "last" else logits_V[None]


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
    cache_folder: Path | None = None,
) -> ScratchNetwork:
    """The network of a checkpoint.

    Args:
        checkpoint: opened, its headers checked.
        config: its sizes, which fit its tensors.
        precision: from `choose_precision`.
        context: tokens of context; 0 takes what the model was made for.
        threads: processor threads in use, for the record.
        report: hears the fraction that is loaded.
        cache_folder: where what was made of the weights is kept; None keeps nothing.

    Raises:
        ModelError: a tensor is of a type that cannot be unpacked.
    """
    weights = weight_builder(checkpoint, precision, cache_folder)
    llama = build_llama(config, weights, report)
    keeping = keep_built(weights)
    kept = [info for name, info in checkpoint.tensors.items() if name != ROPE_DIVISORS]
    info = NetworkInfo(
        context_length=context or config.context_length,
        vocab_size=config.vocab_size,
        parameters=sum(torch.Size(info.shape).numel() for info in kept),
        weights_bytes=_bytes_of(llama),
        device=device_label(precision.device),
        dtype=running_dtype(checkpoint.tensors.values(), precision) + _cache_words(precision),
        threads=threads,
    )
    network = ScratchNetwork(llama, precision, info)
    network.keeping = keeping
    network.try_capture()
    if cache_folder is not None and precision.device.type == "cpu":
        matrices = weights.layer_matrices(config.n_layers)
        network.unpacked = unpacked_layers(
            cache_folder / "unpacked", checkpoint.fingerprint(), llama, matrices
        )
        spec = spec_of(llama, precision, threads)
        if spec is not None:
            network.steps = StepSource(llama, spec, StepShelf(cache_folder / "steps"))
    return network


def _cache_words(precision: Precision) -> str:
    """Of the dtype in the record: what computes otherwise must not look alike."""
    return "" if precision.kv_dtype == "auto" else f"{KV_WORDS}{precision.kv_dtype}"


def _bytes_of(llama: Llama) -> int:
    """What the weights take; those that two modules share (a tied output) are counted once."""
    tensors = (*llama.parameters(), *llama.buffers())
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
