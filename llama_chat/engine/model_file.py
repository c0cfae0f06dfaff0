"""What a model says of itself before any weight is touched; read while torch loads, where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llama_chat.engine.files.checkpoint import model_name
from llama_chat.engine.files.find import Found, find_model_files, name_of_whole
from llama_chat.engine.files.gguf_model import GGUFCheckpoint, config_from_gguf, open_parts
from llama_chat.engine.files.hf_folder import read_hf_folder
from llama_chat.engine.files.model import ModelFile, check_vocabulary
from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf


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
