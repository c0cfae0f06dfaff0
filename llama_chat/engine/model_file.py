"""What a model says of itself before any weight is touched; read while torch loads, where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.checkpoint import Checkpoint, model_name
from llama_chat.engine.files.find import Found, find_model_files, name_of_whole
from llama_chat.engine.files.gguf_model import GGUFCheckpoint, config_from_gguf, open_parts
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError


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
    found = find_model_files(path)
    model = _read(found)
    return replace(model, notices=(*found.notices, *model.notices))


def _read(found: Found) -> ModelFile:
    if found.kind == "gguf":
        return read_gguf(found.files)
    if found.kind == "hf":
        from llama_chat.engine.files.hf_folder import read_hf_folder  # which imports this module

        return read_hf_folder(found.path, found.files)
    from llama_chat.engine.files.meta_folder import read_meta_folder  # torch: .pth files are pickled

    return read_meta_folder(found.path, found.files)


def read_gguf(files: Sequence[Path]) -> ModelFile:
    """The model in a GGUF file, or in all the parts of one, the first of which has the metadata.

    Raises:
        ModelError: a file is damaged, or the model cannot be run.
    """
    checkpoint = GGUFCheckpoint(open_parts(files))
    file = checkpoint.files[0]
    config = config_from_gguf(file, checkpoint.tensors)
    tokenizer = tokenizer_from_gguf(file)
    check_vocabulary(tokenizer, config, file.path.name)
    template = file.metadata.get("tokenizer.chat_template")
    return ModelFile(
        name=model_name(file.path.with_name(name_of_whole(file.path))),
        architecture=file.get("general.architecture", str),
        checkpoint=checkpoint,
        config=config,
        tokenizer=tokenizer,
        chat_template=template if isinstance(template, str) else None,
    )


def check_vocabulary(tokenizer: Tokenizer, config: LlamaConfig, where: str) -> None:
    """Raises `ModelError` where the tokenizer has another number of tokens than the embedding has rows."""
    if len(tokenizer) != config.vocab_size:
        raise ModelError(
            f"{where}: {len(tokenizer):,} tokens, but {config.vocab_size:,} rows of embeddings",
            hint="The tokenizer belongs to another model.",
        )
