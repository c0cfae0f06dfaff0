"""A `Network` of transformers: a Llama from our own checkpoint, or any other model by its own reader."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from llama_chat.engine.config import check_context
from llama_chat.engine.files.model import ModelFile
from llama_chat.engine.hf.build import build_skeleton, fill
from llama_chat.engine.hf.library import (
    asking_the_library,
    build_library_skeleton,
    context_length_of,
    load_by_library,
    read_library_config,
    silence_library,
)
from llama_chat.engine.hf.network import HfNetwork
from llama_chat.engine.hf.other_model import OtherModel
from llama_chat.engine.hf.placement import (
    Placement,
    cache_bytes_of,
    does_not_fit,
    on_one,
    spread,
    weights_bytes_of,
)
from llama_chat.engine.memory import FIRST_CONTEXT
from llama_chat.engine.network import NetworkInfo
from llama_chat.errors import ModelError

DTYPES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
_UNSAID_CONTEXT = 8192
"""Tokens of context where the model names none: recurrent ones have no end, but memory has."""


def library_version() -> str:
    """The version of transformers."""
    from transformers import __version__

    return str(__version__)


def load_hf(
    model: ModelFile | OtherModel,
    dtype: str,
    device: torch.device,
    *,
    context: int = 0,
    threads: int = 1,
    free_bytes: Mapping[torch.device, int] | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> HfNetwork:
    """The network of the model.

    Args:
        model: a Llama whose checkpoint we read, or a folder that the library reads.
        dtype: `bf16`, `f16` or `f32`.
        device: where it goes if it fits.
        context: tokens of context; 0 takes what the model was made for.
        threads: processor threads in use, for the record.
        free_bytes: from `free_places`: what it may be spread over; none: it goes to the device, fit or not.
        report: hears the fraction that is loaded.

    Raises:
        ModelError: the library cannot run it, or its files are damaged.
        DeviceError: it fits on no device, nor on all of them.
    """
    silence_library()
    wanted = _Wanted(dtype, device, context, threads, free_bytes or {}, report)
    return _load_llama(model, wanted) if isinstance(model, ModelFile) else _load_other(model, wanted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What `load_hf` was asked for."""

    dtype: str
    device: torch.device
    context: int
    threads: int
    free_bytes: Mapping[torch.device, int]
    report: Callable[[float], None]

    @property
    def compute(self) -> torch.dtype:
        return DTYPES[self.dtype]

    def place(self, skeleton: Any, cache_bytes: int) -> Placement:
        """On the one device, unless there is too little memory on it."""
        needed = weights_bytes_of(skeleton, self.compute) + cache_bytes
        if self.device not in self.free_bytes or needed <= self.free_bytes[self.device]:
            return on_one(self.device)
        if len(self.free_bytes) == 1:
            raise does_not_fit(needed, self.free_bytes)
        with asking_the_library("The model cannot be spread over the devices"):
            return spread(skeleton, self.compute, self.free_bytes)

    def network(
        self, loaded: Any, placement: Placement, context: int, vocab_size: int, notices: tuple[str, ...] = ()
    ) -> HfNetwork:
        info = NetworkInfo(
            context_length=context,
            vocab_size=vocab_size,
            parameters=sum(parameter.numel() for parameter in loaded.parameters()),
            weights_bytes=weights_bytes_of(loaded),
            device=placement.label,
            dtype=self.dtype,
            threads=self.threads,
        )
        return HfNetwork(loaded, info, placement.device, notices)


def _load_llama(model: ModelFile, wanted: _Wanted) -> HfNetwork:
    config = model.config
    context = check_context(wanted.context, config.context_length, model.checkpoint.path.name)
    loaded = build_skeleton(config)
    begins_with = wanted.context or min(context, FIRST_CONTEXT)  # the cache grows as it fills
    placement = wanted.place(loaded, config.kv_values_per_token * begins_with * wanted.compute.itemsize)
    fill(loaded, model.checkpoint, config, wanted.compute, placement.device_of, wanted.report)
    if placement.is_spread:
        from accelerate import dispatch_model

        loaded = dispatch_model(loaded, placement.accelerate_map)
    return wanted.network(loaded, placement, context, config.vocab_size)


def _load_other(model: OtherModel, wanted: _Wanted) -> HfNetwork:
    wanted.report(0.0)
    where = model.path.name
    config = read_library_config(model)
    skeleton = build_library_skeleton(model, config)
    rows = skeleton.get_input_embeddings().weight.shape[0]
    if len(model.tokenizer) > rows:
        raise ModelError(
            f"{where}: {len(model.tokenizer):,} tokens, but {rows:,} rows of embeddings",
            hint="The tokenizer belongs to another model.",
        )
    context, notices = _context_of(model, config, wanted.context)
    begins_with = wanted.context or min(context, FIRST_CONTEXT)
    placement = wanted.place(skeleton, cache_bytes_of(config, begins_with, wanted.compute) or 0)
    is_plain = placement.label == "cpu"
    device_map = None if is_plain else placement.accelerate_map
    loaded = load_by_library(model, config, wanted.compute, device_map, wanted.report)
    wanted.report(1.0)
    return wanted.network(loaded, placement, context, len(model.tokenizer), notices)


def _context_of(model: OtherModel, config: Any, asked: int) -> tuple[int, tuple[str, ...]]:
    """Tokens of context, and what is to be said of it."""
    known = context_length_of(config)
    if known is not None:
        return check_context(asked, known, model.path.name), ()
    if asked:
        return asked, ()
    said = f"{model.name} names no length of context; {_UNSAID_CONTEXT:,} tokens are taken."
    return _UNSAID_CONTEXT, (said,)


@dataclass(frozen=True, slots=True)
class LibraryNeed:
    """What can be known of the memory for a model that transformers runs."""

    context: int
    weights_bytes: int
    cache_bytes: int | None
    """Keys and values of the whole context; None where the model's config does not tell."""


def library_needs(
    model: ModelFile | OtherModel, dtypes: Collection[str], context: int
) -> dict[str, LibraryNeed]:
    """What the model takes, by the dtype: `bf16`, `f16`, `f32`. Nothing of its weights is read.

    Args:
        model: from `read_model`.
        dtypes: that are asked about.
        context: tokens; 0 takes what the model was made for.

    Raises:
        ModelError: transformers does not know the model, or a context beyond the model's.
    """
    silence_library()
    if isinstance(model, ModelFile):
        length = check_context(context, model.config.context_length, model.checkpoint.path.name)
        skeleton = build_skeleton(model.config)
        config = skeleton.config
    else:
        config = read_library_config(model)
        length, _ = _context_of(model, config, context)
        skeleton = build_library_skeleton(model, config)
    return {
        name: LibraryNeed(
            length, weights_bytes_of(skeleton, DTYPES[name]), cache_bytes_of(config, length, DTYPES[name])
        )
        for name in dtypes
    }
