"""Whether the model at a path fits the device that it would run on, by its headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.devices import device_label, find_device, free_memory
from llama_chat.engine.files.checkpoint import PLAIN_TYPES, Stored, dominant_type
from llama_chat.engine.files.find import find_model_files
from llama_chat.engine.files.gguf_model import GGUFCheckpoint, config_from_gguf, open_parts
from llama_chat.engine.memory import FIRST_CONTEXT, Need, estimate, plan_precision, verdict
from llama_chat.engine.precision import DENSE_DTYPES, Precision, choose_precision
from llama_chat.errors import DeviceError, LlamaChatError
from llama_chat.settings import ModelSettings
from llama_chat.shelves.fit import ShortFit


def quick_fit(path: Path, settings: ModelSettings, *, freed_bytes: int = 0) -> ShortFit | None:
    """How the model fits, its tokenizer left unread; None where only loading it would tell.

    Without `--context` it counts what a chat begins with: the cache grows as it fills.

    Args:
        path: of the model.
        settings: device, dtype and context.
        freed_bytes: what will be free besides, once the model that runs is closed.
    """
    try:
        sizes = _sizes(path)
        device = find_device(settings.device)
    except LlamaChatError:
        return None
    if sizes is None or settings.engine == "hf":
        return None
    free = free_memory(device)
    return fit_of(*sizes, settings, device, None if free is None else free + freed_bytes)


def fit_of(
    config: LlamaConfig,
    tensors: Mapping[str, Stored],
    settings: ModelSettings,
    device: torch.device,
    free: int | None,
) -> ShortFit:
    """How the from-scratch engine would hold a model of those sizes and tensors.

    Args:
        config: of the model.
        tensors: by their names.
        settings: how it is to run.
        device: where.
        free: bytes of memory there; None where the device does not say.
    """
    context = min(settings.context or FIRST_CONTEXT, config.context_length)
    try:
        precision = plan_precision(
            settings.dtype,
            device,
            config,
            tensors,
            context=context,
            free_bytes=free,
            kv_dtype=settings.kv_dtype,
        ).precision
    except DeviceError:  # nothing that is allowed fits
        precision = choose_precision(settings.dtype, device, settings.kv_dtype)
    need: Need = estimate(config, tensors, precision, context)
    return ShortFit(
        verdict(need, free), need.total_bytes, free, device_label(device), dtype_text(precision, tensors)
    )


def dtype_text(precision: Precision, tensors: Mapping[str, Stored]) -> str:
    """What the weights are kept in, as the user knows it: `bf16`, `int8`, or a file's own `Q4_1`."""
    if precision.kind != "auto":
        return precision.kind
    own = dominant_type(tensors.values())
    dense = {dtype: name for name, dtype in DENSE_DTYPES.items()}
    return dense.get(precision.compute, "") if own in PLAIN_TYPES else own


def _sizes(path: Path) -> tuple[LlamaConfig, Mapping[str, Stored]] | None:
    """Sizes and tensors of what the from-scratch engine runs; None for pickled weights.

    Raises:
        ModelError: no model there, or none of the Llama family.
    """
    found = find_model_files(path)
    if found.kind == "gguf":
        gguf = GGUFCheckpoint(open_parts(found.files))
        return config_from_gguf(gguf.files[0], gguf.tensors), gguf.tensors
    if found.kind == "hf":
        from llama_chat.engine.files.hf_folder import open_checkpoint

        config, checkpoint = open_checkpoint(found.path, found.files)
        return config.llama, checkpoint.tensors
    return None
