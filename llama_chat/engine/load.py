"""From a path and the model settings to an engine that is ready to answer."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from llama_chat.engine.config import LlamaConfig, config_from_gguf
from llama_chat.engine.devices import (
    device_label,
    find_device,
    is_out_of_memory,
    set_threads,
    torch_build,
)
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.gguf import GGUFFile, shown
from llama_chat.engine.scratch import ScratchNetwork, load_scratch
from llama_chat.engine.tokenizer import Tokenizer, vocabulary_from_gguf
from llama_chat.engine.weights import choose_precision
from llama_chat.errors import DeviceError, Interrupted, ModelError
from llama_chat.events import Loading, ModelInfo
from llama_chat.settings import ModelSettings

_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".bin")


def load_engine(
    path: Path,
    settings: ModelSettings,
    report: Callable[[Loading], None] = lambda _: None,
    cancel: threading.Event | None = None,
) -> LocalEngine:
    """The engine for the model at the path. Call it on the thread that will use it.

    Raises:
        ModelError: no model there, or one that cannot be run.
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
    report(Loading(0.0, "header"))
    file = GGUFFile(find_gguf(path))
    config = config_from_gguf(file)
    context = _context_length(settings.context, config, file)
    report(Loading(0.0, "tokenizer"))
    tokenizer = Tokenizer(vocabulary_from_gguf(file))
    _check_vocabulary(tokenizer, config, file)
    threads = set_threads(settings.threads)

    def on_progress(fraction: float) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted("Loading was stopped")
        report(Loading(fraction, "weights"))

    try:
        network = load_scratch(file, config, precision, context=context, threads=threads, report=on_progress)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{device_label(device)} has not enough memory for {file.path.name}",
            hint="Take a smaller model, or a --dtype of fewer bits.",
        ) from error
    return LocalEngine(network, tokenizer, _model_info(file, network, tokenizer))


def _context_length(asked: int, config: LlamaConfig, file: GGUFFile) -> int:
    """Tokens of context. Beyond what it was trained on RoPE gives angles that the model never saw: nonsense.

    Raises:
        ModelError: more is asked for.
    """
    if asked > config.context_length:
        raise ModelError(
            f"{file.path.name} was made for a context of {config.context_length:,} tokens, not of {asked:,}",
            hint=f"Take --context {config.context_length} at most, or leave it out.",
        )
    return asked or config.context_length


def find_gguf(path: Path) -> Path:
    """The GGUF file that a path means: itself, or the only one in the folder.

    Raises:
        ModelError: nothing there, nothing that can be read, or several to choose from.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path}: there is no such file or folder")
        if not path.is_dir():
            return path
        names = sorted(file.name for file in path.iterdir())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    found = [name for name in names if name.lower().endswith(".gguf")]
    if len(found) == 1:
        return path / found[0]
    if found:
        raise ModelError(
            f"{path}: there are {len(found)} models in it: {_listed(found)}",
            hint=f"Name one of them, as {path / found[0]}",
        )
    others = [name for name in names if name.endswith(_WEIGHT_SUFFIXES)]
    if others:
        raise ModelError(
            f"{path}: holds {_listed(others)}; this version reads GGUF files only",
            hint="Convert it to GGUF, or give a .gguf file.",
        )
    raise ModelError(
        f"{path}: there are no weights in this folder", hint="Give a .gguf file, or a folder with one in it."
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def _check_vocabulary(tokenizer: Tokenizer, config: LlamaConfig, file: GGUFFile) -> None:
    if len(tokenizer) != config.vocab_size:
        raise ModelError(
            f"{file.path.name}: {len(tokenizer):,} tokens, but {config.vocab_size:,} rows of embeddings",
            hint="The tokenizer belongs to another model.",
        )


_TYPE_ENDING = re.compile(r"[.-](?:I?Q\d\w*|TQ\d\w*|MXFP4|BF16|F16|F32)$", re.IGNORECASE)


def model_name(path: Path) -> str:
    """The file's name without its ending and its quantised type, which is shown beside it."""
    return _TYPE_ENDING.sub("", path.stem) or path.stem


def fingerprint(file: GGUFFile) -> str:
    """Names these weights: a hash of the header (every name, shape and offset) and the file's size."""
    digest = hashlib.sha256()
    with file.path.open("rb") as raw:
        digest.update(raw.read(file.header_bytes))
    digest.update(file.path.stat().st_size.to_bytes(8, "little"))
    return digest.hexdigest()[:16]


def _model_info(file: GGUFFile, network: ScratchNetwork, tokenizer: Tokenizer) -> ModelInfo:
    template = file.metadata.get("tokenizer.chat_template")
    vocabulary = tokenizer.vocabulary
    return ModelInfo(
        name=model_name(file.path),
        path=str(file.path),
        engine="scratch",
        architecture=file.get("general.architecture", str),
        device=network.info.device,
        dtype=network.info.dtype,
        context_length=network.info.context_length,
        vocab_size=network.info.vocab_size,
        parameters=network.info.parameters,
        weights_bytes=network.info.weights_bytes,
        fingerprint=fingerprint(file),
        chat_template=template if isinstance(template, str) else None,
        special_tokens=tokenizer.special_tokens,
        visible_tokens=tokenizer.visible_tokens,
        bos_text=tokenizer.text_of(vocabulary.bos_id),
        eos_text=tokenizer.text_of(vocabulary.eos_id),
        threads=network.info.threads,
        torch=torch_build(),
    )
