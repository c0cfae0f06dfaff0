"""A model in Meta's format: `consolidated.*.pth`, `params.json` and `tokenizer.model` in one folder.

The Hugging Face folder of a Llama has them in `original/`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from llama_chat.engine.files.checkpoint import shown
from llama_chat.engine.files.find import find_meta_files
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.files.meta import MetaCheckpoint
from llama_chat.engine.files.meta_params import PARAMS, config_from_meta
from llama_chat.engine.files.model import ModelFile, check_vocabulary
from llama_chat.engine.files.pth import PthFile
from llama_chat.engine.vocabulary.from_tiktoken import tokenizer_from_tiktoken
from llama_chat.engine.vocabulary.llama3_template import LLAMA3_TEMPLATE
from llama_chat.errors import ModelError
from llama_chat.part_names import ORIGINAL, shard_number

TOKENIZER = "tokenizer.model"
MAX_PARAMS_BYTES = 1 << 20

_INSTRUCT = re.compile(r"instruct|chat|guard|(?:^|[-_. ])it(?:$|[-_. ])", re.IGNORECASE)
_BASE = re.compile(r"llama[-_ ]?3(?:\.\d)?[-_ ]?\d+b|[-_. ]base\b|pretrain", re.IGNORECASE)


def read_meta_folder(folder_or_pth: Path, files: Sequence[Path] = ()) -> ModelFile:
    """The model in the folder, or the one that a `.pth` file belongs to.

    Args:
        folder_or_pth: a folder that has the files, or has them in `original/`; one shard stands for all.
        files: of the weights, in order, as `find_meta_files` finds them; without them, it is asked.

    Raises:
        ModelError: something is missing, damaged or does not fit together; files that carry code.
    """
    found = None if files else find_meta_files(folder_or_pth)
    paths, notices = (found.files, found.notices) if found else (files, ())
    is_set = folder_or_pth.is_dir() or len(paths) > 1
    where = (paths[0].parent if is_set else paths[0]).resolve().name
    around = _folders_around(paths[0])
    checkpoint = MetaCheckpoint(folder_or_pth, [PthFile(path) for path in paths])
    params = next((folder / PARAMS for folder in around if (folder / PARAMS).is_file()), None)
    config, of_params = config_from_meta(
        checkpoint.tensors,
        None if params is None else read_json(params, MAX_PARAMS_BYTES),
        where,
        len(paths),
    )
    tokenizer = tokenizer_from_tiktoken(_tokenizer_file(around))
    check_vocabulary(tokenizer, config, where)
    name = _name(paths)
    template, of_template = _template_for(name, paths)
    return ModelFile(
        name=name,
        architecture="llama",
        checkpoint=checkpoint,
        config=config,
        tokenizer=tokenizer,
        chat_template=template,
        notices=(*notices, *of_params, *of_template),
    )


def _folders_around(shard: Path) -> list[Path]:
    """Where what belongs to the weights may lie, the nearest first."""
    folder = shard.absolute().parent
    outer = [folder.parent] if folder.name == ORIGINAL else []
    return [folder, folder / ORIGINAL, *outer]


def _tokenizer_file(around: Sequence[Path]) -> Path:
    for folder in around:
        if (folder / TOKENIZER).is_file():
            return folder / TOKENIZER
    raise ModelError(
        f"{around[0]}: there is no {TOKENIZER}, here or in {ORIGINAL}/",
        hint=f"Put the {TOKENIZER} that came with the weights beside them.",
    )


def _name(paths: Sequence[Path]) -> str:
    """The folder's name; of a file that was cut out of a model, its own."""
    path = paths[0].absolute()
    if shard_number(path.name) is None:
        return path.stem
    folder = path.parent
    return (folder.parent if folder.name == ORIGINAL else folder).name or path.stem


def _template_for(name: str, paths: Sequence[Path]) -> tuple[str | None, list[str]]:
    """Llama 3's turns, but for what goes by a base model's name: the files do not say which it is."""
    folder = paths[0].absolute().parent
    names = (name, folder.parent.name if folder.name == ORIGINAL else folder.name)
    if not any(map(_INSTRUCT.search, names)) and any(map(_BASE.search, names)):
        return None, [f"{shown(name)}: by its name a base model, so it starts raw, without turns."]
    return LLAMA3_TEMPLATE, []
