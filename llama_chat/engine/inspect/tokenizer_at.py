"""The tokenizer at a path, without the weights: also of models that no engine here can run."""

from __future__ import annotations

from pathlib import Path

from llama_chat.engine.files.find import find_model_files
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError
from llama_chat.part_names import ORIGINAL

JSON_NAME = "tokenizer.json"
META_NAME = "tokenizer.model"


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model, or in a file or folder of its own.

    Args:
        path: a model as `--model` takes it, tokenizer.json, tokenizer.model, or a folder with one of them.

    Raises:
        ModelError: nothing there, or nothing that can be read.
    """
    if path.is_file() and path.name == JSON_NAME:
        return _from_json(path.parent)
    if path.is_file() and path.suffix == ".model":
        return _from_meta(path)
    try:
        found = find_model_files(path)
    except ModelError:
        alone = _lone_tokenizer(path)
        if alone is None:
            raise
        return alone
    if found.kind == "gguf":
        return _from_gguf(found.files[0])
    if found.kind == "hf":
        return _from_json(found.path)
    folder = found.path if found.path.is_dir() else found.path.parent
    around = (folder, folder / ORIGINAL, folder.parent)
    file = next((near / META_NAME for near in around if (near / META_NAME).is_file()), None)
    if file is None:
        raise ModelError(
            f"{folder}: there is no {META_NAME} in this folder",
            hint="Put the model's own beside its weights.",
        )
    return _from_meta(file)


def _lone_tokenizer(folder: Path) -> Tokenizer | None:
    if (folder / JSON_NAME).is_file():
        return _from_json(folder)
    return _from_meta(folder / META_NAME) if (folder / META_NAME).is_file() else None


def _from_gguf(path: Path) -> Tokenizer:
    from llama_chat.engine.files.gguf import GGUFFile
    from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf

    return tokenizer_from_gguf(GGUFFile(path, lists_unknown=True))


def _from_meta(path: Path) -> Tokenizer:
    from llama_chat.engine.vocabulary.from_tiktoken import tokenizer_from_tiktoken

    return tokenizer_from_tiktoken(path)


def _from_json(folder: Path) -> Tokenizer:
    from llama_chat.engine.files.hf_config import MAX_CONFIG_BYTES, end_ids_in, end_ids_of
    from llama_chat.engine.files.json_file import read_json
    from llama_chat.engine.vocabulary.from_json import tokenizer_from_json

    path = folder / "config.json"
    of_config = end_ids_of(read_json(path, MAX_CONFIG_BYTES), path.name) if path.is_file() else frozenset()
    return tokenizer_from_json(folder, end_ids_in(folder, of_config))
