"""What a path means: a file of weights, or a folder with a model in one of the formats that are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from llama_chat.catalogue import GIVE_A_MODEL
from llama_chat.engine.files.checkpoint import listed, shown
from llama_chat.errors import ModelError, NotOursError

FoundKind: TypeAlias = Literal["gguf", "hf", "meta"]

CONFIG_NAME = "config.json"
PARAMS_NAME = "params.json"
INDEX_ENDING = ".safetensors.index.json"
ORIGINAL = "original"
"""The folder in which Meta's repositories on the Hub keep their own format."""

_PART = re.compile(
    r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.(?P<ending>gguf|safetensors)", re.I
)
_PICKLED = (".bin", ".pt", ".pkl", ".ckpt")


@dataclass(frozen=True, slots=True)
class Found:
    """A model, and what it lies in."""

    kind: FoundKind
    path: Path
    """The folder of the model for "hf" and "meta" (a single .pth stays one), the first file for "gguf"."""
    files: tuple[Path, ...]
    """Weights, in order; of "hf" the index instead, where there is one."""
    notices: tuple[str, ...] = ()
    """Which of several was taken."""


def find_model_files(path: Path) -> Found:
    """What the path means. Only names are looked at.

    Raises:
        ModelError: nothing there, nothing that can be read, several to choose from, or a part is missing.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path}: there is no such file or folder")
        if path.is_dir():
            return _in_folder(path)
        return _of_file(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelError(f"{path}: cannot be read: {reason}") from error


def _of_file(path: Path) -> Found:
    name, folder = path.name.lower(), path.parent
    if name.endswith(".safetensors"):
        return Found("hf", folder, _weights_beside(path))
    if name.endswith(INDEX_ENDING):
        return Found("hf", folder, (path,))
    if name == CONFIG_NAME:
        return _in_folder(folder)
    if name == PARAMS_NAME:
        return Found("meta", folder, _meta_files(folder, _names_in(folder)))
    if name.endswith(".pth"):
        return Found("meta", path, (path,))
    if name.endswith(_PICKLED):
        raise _pickled(folder, [path.name])
    parts = _all_parts(path)
    return Found("gguf", parts[0], parts)  # whatever it is called: the reader looks into it


def _weights_beside(path: Path) -> tuple[Path, ...]:
    """The file, or for one of several the index of all, or all."""
    part = _PART.fullmatch(path.name)
    if part is None:
        return (path,)
    index = path.with_name(part["stem"] + INDEX_ENDING)
    return (index,) if index.is_file() else _all_parts(path)


def _all_parts(path: Path) -> tuple[Path, ...]:
    """The file, or for one of several all of them, in order.

    Raises:
        ModelError: one is missing.
    """
    part = _PART.fullmatch(path.name)
    if part is None:
        return (path,)
    count = int(part["count"])
    if not 1 <= int(part["number"]) <= count:
        raise ModelError(f"{shown(path.name)}: there is no part {int(part['number'])} of {count}")
    found = []
    for number in range(1, count + 1):
        name = f"{part['stem']}-{number:05}-of-{count:05}{path.suffix}"
        if not path.with_name(name).is_file():
            raise ModelError(
                f"{shown(name)} is missing: the model has {count:,} parts",
                hint="Fetch all of them into the same folder.",
            )
        found.append(path.with_name(name))
    return tuple(found)


def name_of_whole(path: Path) -> str:
    """The file's name, for one of several parts without the part's number."""
    part = _PART.fullmatch(path.name)
    return f"{part['stem']}{path.suffix}" if part else path.name


# --- folders ---------------------------------------------------------------------------------------


def _in_folder(folder: Path) -> Found:
    """The one model in the folder; of several formats safetensors comes first, then GGUF, then Meta's."""
    names = _names_in(folder)
    ggufs, hf = _gguf_models(names), _hf_files(folder, names)
    meta, below = _meta_files(folder, names), _original(folder, names)
    if hf and (CONFIG_NAME in names or not ggufs):
        others = [*ggufs.values(), *([meta[0].name] if meta else []), *([f"{ORIGINAL}/"] if below else [])]
        return Found("hf", folder, hf, _taken(folder, "safetensors", others))
    if len(ggufs) > 1:
        first = folder / next(iter(ggufs.values()))
        raise ModelError(
            f"{folder}: there are {len(ggufs)} models in it: {listed(list(ggufs.values()))}",
            hint=f"Name one of them, as {first}",
        )
    if ggufs:
        first = folder / next(iter(ggufs.values()))
        others = [*([meta[0].name] if meta else []), *([f"{ORIGINAL}/"] if below else [])]
        return Found("gguf", first, _all_parts(first), _taken(folder, first.name, others))
    if meta:
        return Found("meta", folder, meta)
    if below:
        return Found("meta", folder / ORIGINAL, below)
    raise _nothing(folder, names)


def _names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def _taken(folder: Path, what: str, others: Sequence[str]) -> tuple[str, ...]:
    """The line for the user where there was more than one format."""
    if not others:
        return ()
    return (
        f"{shown(folder.name)} holds more than one format: {what} was taken, not {listed(others)} "
        "(give that path to take it instead).",
    )


def _gguf_models(names: Sequence[str]) -> Mapping[str, str]:
    """The GGUF models by what is common to their parts, each with the name of its first file."""
    models: dict[str, str] = {}
    for name in names:
        if name.lower().endswith(".gguf"):
            part = _PART.fullmatch(name)
            models.setdefault(f"{part['stem']}/{part['count']}" if part else name, name)
    return models


def _hf_files(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The safetensors of the folder's model, as transformers looks for them, else the only ones there are.

    Raises:
        ModelError: several, and nothing says which belong together, or nothing but an adapter.
    """
    for name in (f"model{INDEX_ENDING}", "model.safetensors"):
        if name in names:
            return (folder / name,)
    found = [name for name in names if name.lower().endswith(".safetensors")]
    models = {
        part["stem"] if (part := _PART.fullmatch(name)) else name: name
        for name in reversed(found)
        if not name.startswith("adapter_")  # to be added to the weights of another model
    }
    if len(models) > 1:
        raise ModelError(
            f"{folder}: there are {len(models)} models in it: {listed(sorted(models.values()))}",
            hint=f"Name one of them, as {folder / min(models.values())}",
        )
    if models:
        return _weights_beside(folder / next(iter(models.values())))
    if "adapter_model.safetensors" in names and not any(name.endswith((".gguf", ".pth")) for name in names):
        raise ModelError(
            f"{folder}: adapter_model.safetensors is an adapter, which only changes the weights of a model",
            hint="Merge it into its model first (peft: merge_and_unload, then save_pretrained).",
        )
    return ()


def _meta_files(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    found = [name for name in names if name.lower().endswith(".pth")]
    shards = [name for name in found if re.fullmatch(r"consolidated\.[0-9]+\.pth", name)]
    return tuple(folder / name for name in shards or found)


def _original(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Meta's files in the folder below."""
    if ORIGINAL not in names or not (folder / ORIGINAL).is_dir():
        return ()
    return _meta_files(folder / ORIGINAL, _names_in(folder / ORIGINAL))


def _nothing(folder: Path, names: Sequence[str]) -> ModelError:
    pickled = [name for name in names if name.lower().endswith(_PICKLED) and "training_args" not in name]
    if pickled:
        return _pickled(folder, pickled)
    if CONFIG_NAME in names or PARAMS_NAME in names:
        return ModelError(
            f"{folder}: describes a model, but its weights are not there",
            hint="Fetch its *.safetensors (or *.gguf, or consolidated.*.pth) into the same folder.",
        )
    return ModelError(f"{folder}: there are no weights in this folder", hint=GIVE_A_MODEL)


def _pickled(folder: Path, names: Sequence[str]) -> NotOursError:
    return NotOursError(
        f"{folder}: holds {listed(names)}, pickled weights, which the from-scratch engine does not read",
        hint="Take the model's safetensors or GGUF, or save it anew with transformers "
        "(from_pretrained, then save_pretrained), or try --engine hf.",
    )
