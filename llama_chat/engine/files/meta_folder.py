"""A model in Meta's format: `consolidated.*.pth`, `params.json` and `tokenizer.model` in one folder.

The Hugging Face folder of a Llama has them in `original/`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from llama_chat.engine.files.checkpoint import DAMAGED, listed, shown
from llama_chat.engine.files.find import ORIGINAL
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.files.meta import MetaCheckpoint
from llama_chat.engine.files.meta_params import PARAMS, config_from_meta
from llama_chat.engine.files.pth import PthFile
from llama_chat.engine.model_file import ModelFile, check_vocabulary
from llama_chat.engine.vocabulary.from_tiktoken import tokenizer_from_tiktoken
from llama_chat.engine.vocabulary.llama3_template import LLAMA3_TEMPLATE
from llama_chat.errors import ModelError

TOKENIZER = "tokenizer.model"
MAX_PARAMS_BYTES = 1 << 20
MAX_SHARDS = 1024

_SHARD = re.compile(r"consolidated\.([0-9]{2,4})\.pth")
_INSTRUCT = re.compile(r"instruct|chat|guard|(?:^|[-_. ])it(?:$|[-_. ])", re.IGNORECASE)
_BASE = re.compile(r"llama[-_ ]?3(?:\.\d)?[-_ ]?\d+b|[-_. ]base\b|pretrain", re.IGNORECASE)


def read_meta_folder(folder_or_pth: Path) -> ModelFile:
    """The model in the folder, or the one that a `.pth` file belongs to.

    Args:
        folder_or_pth: a folder that has the files, or has them in `original/`; one shard stands for all.

    Raises:
        ModelError: something is missing, damaged or does not fit together; files that carry code.
    """
    paths, notices = find_shards(folder_or_pth)
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


def find_shards(folder_or_pth: Path) -> tuple[list[Path], list[str]]:
    """The files of the model in order, and what the user should know of the choice.

    Raises:
        ModelError: there are none, one of a set is missing, or there are several to choose from.
    """
    folder = folder_or_pth
    if not folder.is_dir():
        if not _SHARD.fullmatch(folder.name):
            return [folder], []
        folder = folder.parent
    names = _pth_names(folder)
    if not names and (folder / ORIGINAL).is_dir():
        folder = folder / ORIGINAL
        names = _pth_names(folder)
    shards = [name for name in names if _SHARD.fullmatch(name)]
    others = [name for name in names if name not in shards]
    if shards:
        shards = _complete(shards, folder)
        taken = f"{shards[0]} was" if len(shards) == 1 else f"{shards[0]} to {shards[-1]} were"
        where = folder.absolute().name
        notice = f"{where}: {taken} taken, not {listed(others)} (give that path to take it instead)."
        return [folder / name for name in shards], [notice] if others and folder_or_pth.is_dir() else []
    if len(others) == 1:
        return [folder / others[0]], []
    if others:
        raise ModelError(
            f"{folder}: there are {len(others)} checkpoints in it: {listed(others)}",
            hint=f"Name one of them, as {folder / others[0]}",
        )
    raise ModelError(f"{folder}: there is no consolidated.00.pth in this folder")


def _pth_names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.suffix == ".pth" and path.is_file())
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _complete(shards: Sequence[str], folder: Path) -> list[str]:
    """The shards by number, from 0 without a gap."""
    where, by_number = folder.absolute().name, dict[int, str]()
    for name in shards:
        if (other := by_number.setdefault(int(name.split(".")[1]), name)) != name:
            raise ModelError(f"{where}: {other} and {name} are the same shard", hint=DAMAGED)
    last = max(by_number)
    if last >= MAX_SHARDS:
        raise ModelError(f"{where}: {by_number[last]} would be one of {last + 1:,} shards")
    digits = len(by_number[last].split(".")[1])
    missing = [f"consolidated.{n:0{digits}}.pth" for n in range(last) if n not in by_number]
    if missing:
        raise ModelError(
            f"{where}: {listed(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            hint="The model runs with all of its shards only: fetch the rest.",
        )
    return [by_number[n] for n in range(last + 1)]


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
    if not _SHARD.fullmatch(path.name):
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
