"""From a path and the model settings to an engine that is ready to answer."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

from llama_chat.engine.devices import find_device, set_threads, torch_build
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.gguf import GGUFFile
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
            "The transformers engine is not part of this version", hint="Use --engine scratch, or leave it out."
        )
    device = find_device(settings.device)
    precision = choose_precision(settings.dtype, device)
    threads = set_threads(settings.threads)

    def on_progress(fraction: float) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted("Loading was stopped")
        report(Loading(fraction, "weights"))

    report(Loading(0.0, "header"))
    file = GGUFFile(find_gguf(path))
    report(Loading(0.0, "tokenizer"))
    tokenizer = Tokenizer(vocabulary_from_gguf(file))
    try:
        network = load_scratch(
            file, precision, context=settings.context, threads=threads, report=on_progress
        )
    except MemoryError as error:
        raise DeviceError(f"There is not enough memory to load {file.path.name}") from error
    _check_vocabulary(tokenizer, network, file)
    return LocalEngine(network, tokenizer, _model_info(file, network, tokenizer))


def find_gguf(path: Path) -> Path:
    """The GGUF file that a path means: itself, or the only one in the folder.

    Raises:
        ModelError: nothing there, nothing that can be read, or several to choose from.
    """
    if not path.exists():
        raise ModelError(f"{path}: there is no such file or folder")
    if path.is_file():
        return path
    found = sorted(path.glob("*.gguf"))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(file.name for file in found)
        raise ModelError(f"{path}: there are several models in it: {names}", hint="Name one of them.")
    others = sorted(file.name for file in path.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
    if others:
        raise ModelError(
            f"{path}: holds {others[0]}; this version reads GGUF files only",
            hint="Convert it to GGUF, or give a .gguf file.",
        )
    raise ModelError(f"{path}: there are no weights in this folder", hint="Give a folder with a .gguf file.")


def _check_vocabulary(tokenizer: Tokenizer, network: ScratchNetwork, file: GGUFFile) -> None:
    if len(tokenizer) != network.info.vocab_size:
        raise ModelError(
            f"{file.path.name}: {len(tokenizer):,} tokens, but {network.info.vocab_size:,} rows of embeddings",
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
