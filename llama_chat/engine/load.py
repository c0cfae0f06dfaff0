"""From a path and the model settings to an engine that is ready to answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.devices import (
    device_label,
    find_device,
    is_out_of_memory,
    set_threads,
    torch_build,
)
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.model_file import ModelFile, read_model_file
from llama_chat.engine.scratch import ScratchNetwork, load_scratch
from llama_chat.engine.weights import choose_precision
from llama_chat.errors import DeviceError, Interrupted, ModelError
from llama_chat.events import Loading, ModelInfo
from llama_chat.settings import ModelSettings


def load_engine(
    path: Path,
    settings: ModelSettings,
    report: Callable[[Loading], None] = lambda _: None,
    cancel: threading.Event | None = None,
) -> LocalEngine:
    """The engine for the model at the path, as `build_engine` makes it of what `read_model_file` finds."""
    report(Loading(0.0, "header"))
    return build_engine(read_model_file(path), settings, report, cancel)


def build_engine(
    model: ModelFile,
    settings: ModelSettings,
    report: Callable[[Loading], None] = lambda _: None,
    cancel: threading.Event | None = None,
) -> LocalEngine:
    """The engine for the model. Call it on the thread that will use it.

    Raises:
        ModelError: the settings ask for what the model, or this version, cannot do.
        DeviceError: the device is not there.
        Interrupted: `cancel` was set meanwhile.
    """
    if settings.engine == "hf":
        raise ModelError(
            "The transformers engine is not part of this version",
            hint="Use --engine scratch, or leave it out.",
        )
    device = find_device(settings.device)
    precision = choose_precision(settings.dtype, device)
    checkpoint, config, where = model.checkpoint, model.config, model.checkpoint.path.name
    context = _context_length(settings.context, config, where)
    threads = set_threads(settings.threads)

    def on_progress(fraction: float) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted("Loading was stopped")
        report(Loading(fraction, "weights"))

    try:
        network = load_scratch(
            checkpoint, config, precision, context=context, threads=threads, report=on_progress
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{device_label(device)} has not enough memory for {where}",
            hint="Take a smaller model, or a --dtype of fewer bits.",
        ) from error
    return LocalEngine(network, model.tokenizer, _model_info(model, network))


def _context_length(asked: int, config: LlamaConfig, where: str) -> int:
    """Tokens of context. Beyond what it was trained on RoPE gives angles that the model never saw: nonsense.

    Raises:
        ModelError: more is asked for.
    """
    if asked > config.context_length:
        raise ModelError(
            f"{where} was made for a context of {config.context_length:,} tokens, not of {asked:,}",
            hint=f"Take --context {config.context_length} at most, or leave it out.",
        )
    return asked or config.context_length


def _model_info(model: ModelFile, network: ScratchNetwork) -> ModelInfo:
    tokenizer = model.tokenizer
    vocabulary = tokenizer.vocabulary
    return ModelInfo(
        name=model.name,
        path=str(model.checkpoint.path),
        engine="scratch",
        architecture=model.architecture,
        device=network.info.device,
        dtype=network.info.dtype,
        context_length=network.info.context_length,
        vocab_size=network.info.vocab_size,
        parameters=network.info.parameters,
        weights_bytes=network.info.weights_bytes,
        fingerprint=model.checkpoint.fingerprint(),
        chat_template=model.chat_template,
        special_tokens=tokenizer.special_tokens,
        visible_tokens=tokenizer.visible_tokens,
        bos_text=tokenizer.text_of(vocabulary.bos_id),
        eos_text=tokenizer.text_of(vocabulary.eos_id),
        threads=network.info.threads,
        torch=torch_build(),
    )
