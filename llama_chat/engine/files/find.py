"""What a path means: a file of weights, or a folder with a model in one of the formats that are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from llama_chat.catalogue import GIVE_A_MODEL
from llama_chat.engine.files.checkpoint import DAMAGED, listed, shown, unreadable
from llama_chat.errors import ModelError, NotOursError
from llama_chat.part_names import (
    INDEX_ENDING,
    MAX_SHARDS,
    ORIGINAL,
    missing_shards,
    part_name,
    shard_number,
)

FoundKind: TypeAlias = Literal["gguf", "hf", "meta"]

CONFIG_NAME = "config.json"
PARAMS_NAME = "params.json"
_PICKLED = (".bin", ".pt", ".pkl", ".ckpt")


@dataclass(frozen=True, slots=True)
class Found:
    """A model, and what it lies in."""

    kind: FoundKind
    path: Path
    """The folder of the model for "hf" and "meta" (or the .pth that was given), the first file for "gguf"."""
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
            raise ModelError(f"{path}: there is no such file or folder", hint=GIVE_A_MODEL)
        if path.is_dir():
            return _in_folder(path)
        return _of_file(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _of_file(path: Path) -> Found:
    name, folder = path.name.lower(), path.parent
    if name.endswith(".safetensors"):
        return Found("hf", folder, _weights_beside(path))
    if name.endswith(INDEX_ENDING):
        return Found("hf", folder, (path,))
    if name == CONFIG_NAME:
        return _in_folder(folder)
    if name == PARAMS_NAME:
        return _meta_in(folder)
    if name.endswith(".pth"):
        return find_meta_files(path)
    if name.endswith(_PICKLED):
        raise _pickled(folder, [path.name])
    parts = _all_parts(path)
    return Found("gguf", parts[0], parts)  # whatever it is called: the reader looks into it


def _weights_beside(path: Path) -> tuple[Path, ...]:
    """The file, or for one of several the index of all, or all."""
    part = part_name(path.name)
    if part is None:
        return (path,)
    index = path.with_name(part.stem + INDEX_ENDING)
    return (index,) if index.is_file() else _all_parts(path)


def _all_parts(path: Path) -> tuple[Path, ...]:
    """The file, or for one of several all of them, in order.

    Raises:
        ModelError: one is missing.
    """
    part = part_name(path.name)
    if part is None:
        return (path,)
    if not 1 <= part.number <= part.count:
        raise ModelError(f"{shown(path.name)}: there is no part {part.number} of {part.count}")
    found = tuple(path.with_name(part.sibling(number)) for number in range(1, part.count + 1))
    missing = next((file.name for file in found if not file.is_file()), None)
    if missing is not None:
        raise ModelError(
            f"{shown(missing)} is missing: the model has {part.count:,} parts",
            hint="Fetch all of them into the same folder.",
        )
    return found


def name_of_whole(path: Path) -> str:
    """The file's name, for one of several parts without the part's number."""
    part = part_name(path.name)
    return part.whole if part else path.name


# --- folders ---------------------------------------------------------------------------------------


def _in_folder(folder: Path) -> Found:
    """The one model in the folder; of several formats safetensors comes first, then GGUF, then Meta's."""
    names = _names_in(folder)
    ggufs, hf = _gguf_models(names), _hf_files(folder, names)
    meta, below = _pth_names(names), _pth_names(_names_below(folder, names))
    if hf and (CONFIG_NAME in names or not ggufs):
        others = [*ggufs.values(), *meta[:1], *([f"{ORIGINAL}/"] if below else [])]
        return Found("hf", folder, hf, _taken(folder, "safetensors", others))
    if len(ggufs) > 1:
        first = folder / next(iter(ggufs.values()))
        raise ModelError(
            f"{folder}: there are {len(ggufs)} models in it: {listed(list(ggufs.values()))}",
            hint=f"Name one of them, as {first}",
        )
    if ggufs:
        first = folder / next(iter(ggufs.values()))
        others = [*meta[:1], *([f"{ORIGINAL}/"] if below else [])]
        return Found("gguf", first, _all_parts(first), _taken(folder, first.name, others))
    if meta or below:
        return _meta_in(folder)
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
            part = part_name(name)
            models.setdefault(f"{part.stem}/{part.count}" if part else name, name)
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
        part.stem if (part := part_name(name)) else name: name
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


def _names_below(folder: Path, names: Sequence[str]) -> list[str]:
    """What is in Meta's folder inside this one."""
    is_there = ORIGINAL in names and (folder / ORIGINAL).is_dir()
    return _names_in(folder / ORIGINAL) if is_there else []


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


# --- Meta's format ---------------------------------------------------------------------------------


def _pth_names(names: Sequence[str]) -> list[str]:
    """Meta's shards, else whatever .pth files there are."""
    found = [name for name in names if name.lower().endswith(".pth")]
    return [name for name in found if shard_number(name) is not None] or found


def find_meta_files(folder_or_pth: Path) -> Found:
    """The model in Meta's format there; one shard stands for all of them.

    Args:
        folder_or_pth: a folder that has the files, or has them in `original/`, or one of them.

    Raises:
        ModelError: there is none, one of its shards is missing, or there are several to choose from.
    """
    try:
        if folder_or_pth.is_dir():
            return _meta_in(folder_or_pth)
        if shard_number(folder_or_pth.name) is None:
            return Found("meta", folder_or_pth, (folder_or_pth,))
        return replace(_meta_in(folder_or_pth.parent), path=folder_or_pth, notices=())
    except OSError as error:
        raise unreadable(folder_or_pth, error) from error


def _meta_in(folder: Path) -> Found:
    names = _names_in(folder)
    if not _pth_names(names) and (below := _names_below(folder, names)):
        folder, names = folder / ORIGINAL, below
    found = _pth_names(names)
    if not found:
        raise ModelError(f"{folder}: there is no consolidated.00.pth in this folder")
    if shard_number(found[0]) is None:
        if len(found) > 1:
            raise ModelError(
                f"{folder}: there are {len(found)} checkpoints in it: {listed(found)}",
                hint=f"Name one of them, as {folder / found[0]}",
            )
        return Found("meta", folder, (folder / found[0],))
    shards = _complete(found, folder)
    taken = f"{shards[0]} was" if len(shards) == 1 else f"{shards[0]} to {shards[-1]} were"
    others = [name for name in names if name.lower().endswith(".pth") and name not in shards]
    notice = (
        f"{folder.absolute().name}: {taken} taken, not {listed(others)} (give that path to take it instead)."
    )
    return Found("meta", folder, tuple(folder / name for name in shards), (notice,) if others else ())


def _complete(shards: Sequence[str], folder: Path) -> list[str]:
    """The shards by number, from 0 without a gap."""
    where, by_number = folder.absolute().name, dict[int, str]()
    for name in shards:
        if (other := by_number.setdefault(shard_number(name) or 0, name)) != name:
            raise ModelError(f"{where}: {other} and {name} are the same shard", hint=DAMAGED)
    last = max(by_number)
    if last >= MAX_SHARDS:
        raise ModelError(f"{where}: {by_number[last]} would be one of {last + 1:,} shards")
    if missing := missing_shards(shards):
        raise ModelError(
            f"{where}: {listed(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            hint="The model runs with all of its shards only: fetch the rest.",
        )
    return [by_number[n] for n in range(last + 1)]


# --- what is refused -------------------------------------------------------------------------------


def _pickled(folder: Path, names: Sequence[str]) -> NotOursError:
    return NotOursError(
        f"{folder}: holds {listed(names)}, pickled weights, which the from-scratch engine does not read",
        hint="Take the model's safetensors or GGUF, or save it anew with transformers "
        "(from_pretrained, then save_pretrained), or try --engine hf.",
    )
