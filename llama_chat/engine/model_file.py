"""What a model says of itself before any weight is touched; read while torch loads, where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llama_chat.catalogue import GIVE_A_MODEL
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.checkpoint import Checkpoint, model_name, shown
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import GGUFCheckpoint, config_from_gguf
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError

_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".bin")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model whose headers and tokenizer are read and checked."""

    name: str
    architecture: str
    """As its file calls it: `llama`."""
    checkpoint: Checkpoint
    config: LlamaConfig
    tokenizer: Tokenizer
    chat_template: str | None
    """Jinja source; None where the model starts raw."""
    notices: tuple[str, ...] = field(default=())
    """What the user should know: which of two formats was taken, what was missing or guessed."""


def read_model_file(path: Path) -> ModelFile:
    """The model at the path, ready to be loaded.

    Raises:
        ModelError: no model there, or one that cannot be run.
    """
    return _read_gguf(find_gguf(path))


def _read_gguf(path: Path) -> ModelFile:
    checkpoint = GGUFCheckpoint([GGUFFile(path)])
    file = checkpoint.files[0]
    config = config_from_gguf(file, checkpoint.tensors)
    tokenizer = tokenizer_from_gguf(file)
    check_vocabulary(tokenizer, config, path.name)
    template = file.metadata.get("tokenizer.chat_template")
    return ModelFile(
        name=model_name(path),
        architecture=file.get("general.architecture", str),
        checkpoint=checkpoint,
        config=config,
        tokenizer=tokenizer,
        chat_template=template if isinstance(template, str) else None,
    )


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
            hint=f"Convert it to GGUF. {GIVE_A_MODEL}",
        )
    raise ModelError(f"{path}: there are no weights in this folder", hint=GIVE_A_MODEL)


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def check_vocabulary(tokenizer: Tokenizer, config: LlamaConfig, where: str) -> None:
    """Raises `ModelError` where the tokenizer has another number of tokens than the embedding has rows."""
    if len(tokenizer) != config.vocab_size:
        raise ModelError(
            f"{where}: {len(tokenizer):,} tokens, but {config.vocab_size:,} rows of embeddings",
            hint="The tokenizer belongs to another model.",
        )
