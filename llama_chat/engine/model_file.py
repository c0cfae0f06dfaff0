"""What a model file says before any weight is touched: needs no torch, so it is read while torch loads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_chat.engine.config import LlamaConfig, config_from_gguf
from llama_chat.engine.gguf import GGUFFile, shown
from llama_chat.engine.tokenizer import Tokenizer, vocabulary_from_gguf
from llama_chat.errors import ModelError

_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".bin")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model whose header and tokenizer are read and checked."""

    file: GGUFFile
    config: LlamaConfig
    tokenizer: Tokenizer


def read_model_file(path: Path) -> ModelFile:
    """The model at the path, ready to be loaded.

    Raises:
        ModelError: no model there, or one that cannot be run.
    """
    file = GGUFFile(find_gguf(path))
    config = config_from_gguf(file)
    tokenizer = Tokenizer(vocabulary_from_gguf(file))
    _check_vocabulary(tokenizer, config, file)
    return ModelFile(file, config, tokenizer)


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


_END_BYTES = 4096


def fingerprint(file: GGUFFile) -> str:
    """Names these weights: a hash of the header, the file's size, and both ends of every tensor.

    Fine-tunes of one model may have equal headers and sizes. The ends tell them apart, and of 16 GB they
    are 2 MB.
    """
    digest = hashlib.sha256()
    with file.path.open("rb") as raw:
        digest.update(raw.read(file.header_bytes))
        for info in file.tensors.values():
            for at in (info.offset, info.offset + max(0, info.nbytes - _END_BYTES)):
                raw.seek(at)
                digest.update(raw.read(min(_END_BYTES, info.nbytes)))
    digest.update(file.path.stat().st_size.to_bytes(8, "little"))
    return digest.hexdigest()[:16]
