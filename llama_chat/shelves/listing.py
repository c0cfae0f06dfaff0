"""All shelves together: what could be loaded now, and what could be fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from llama_chat import catalogue, hub
from llama_chat.catalogue import ModelFile
from llama_chat.hub.choice import gguf_groups
from llama_chat.hub.names import snapshot_name
from llama_chat.paths import Paths
from llama_chat.shelves import ollama
from llama_chat.shelves.below import models_below
from llama_chat.shelves.facts import Facts, KnownFacts
from llama_chat.shelves.lm_studio import list_lm_studio
from llama_chat.shelves.used import FILE_NAME, UsedModel, UsedModels

Shelf: TypeAlias = Literal["models", "hub", "ollama", "lmstudio", "recent", "catalogue"]

SHELF_TITLES: dict[Shelf, str] = {
    "models": "Models folder",
    "hub": "Hub's cache",
    "ollama": "Ollama",
    "lmstudio": "LM Studio",
    "recent": "Used lately",
    "catalogue": "To be fetched",
}
"""The headings, in the order in which they stand."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model; looked at from outside."""

    name: str
    """What `--model` takes."""
    shelf: Shelf
    path: Path | None
    """None: not on this disk."""
    size_bytes: int
    """Of what is loaded; of a model that is not here, what it will be."""
    problem: str = ""
    """Why it cannot be loaded, as far as that is seen from outside."""
    file: ModelFile | None = None
    """What the catalogue or the Hub's cache know besides."""

    @property
    def is_default(self) -> bool:
        """Whether it runs when no model is named."""
        return self.file is not None and self.file.is_default


def list_found(paths: Paths) -> list[FoundModel]:
    """Every model of every shelf, shelf by shelf; none twice. Only names and sizes are looked at.

    Raises:
        ModelError: the catalogue's own file cannot be looked at.
    """
    found: list[FoundModel] = []
    seen: set[Path] = set()
    for model in _all(paths):
        place = model.path.resolve() if model.path is not None else None
        if place is None or place not in seen:
            found.append(model)
        if place is not None:
            seen.add(place)
    order = list(SHELF_TITLES)
    return sorted(found, key=lambda model: order.index(model.shelf))  # stable: each shelf keeps its order


def _all(paths: Paths) -> Iterator[FoundModel]:
    for entry in catalogue.ENTRIES.values():
        file = catalogue.show(entry.name, paths.models)
        yield FoundModel(
            entry.name, "models" if file.path else "catalogue", file.path, file.size_bytes, file=file
        )
    yield from _in_models_folder(paths.models)
    yield from _in_hub_cache()
    for model in ollama.list_ollama():
        yield FoundModel(ollama.PREFIX + model.name, "ollama", model.path, model.size_bytes, model.problem)
    for below in list_lm_studio():
        yield FoundModel(below.name, "lmstudio", below.path, below.size_bytes, below.problem)
    yield from _used_lately(UsedModels(used_file(paths)).list())


def used_file(paths: Paths) -> Path:
    """Where it is kept which models ran lately."""
    return paths.data / FILE_NAME


def facts_file(paths: Paths) -> Path:
    """Where it is kept what headers say; may be deleted at any time."""
    return paths.cache / "model_facts.json"


def _in_models_folder(folder: Path) -> Iterator[FoundModel]:
    known = {entry.file_name for entry in catalogue.ENTRIES.values()}
    if not folder.is_dir():
        return
    for model in sorted(models_below(folder), key=lambda model: model.name):
        is_unfinished = model.path.parent == folder and model.path.name in known
        problem = model.problem or ("not whole; pull it again" if is_unfinished else "")
        yield FoundModel(model.name, "models", model.path, model.size_bytes, problem)


def _in_hub_cache() -> Iterator[FoundModel]:
    for cached in hub.list_cached():
        file = ModelFile(
            cached.model.name,
            cached.path if cached.is_whole else None,
            cached.size_bytes,
            hub=cached.model,
            commit=cached.commit,
            missing=cached.missing,
        )
        problem = "" if cached.is_whole else "not whole; pull it again"
        yield FoundModel(file.name, "hub", file.path, file.size_bytes, problem, file)


def _used_lately(used: Iterable[UsedModel]) -> Iterator[FoundModel]:
    for name in dict.fromkeys(each.path for each in used):
        path = Path(name)
        try:
            if path.exists():
                yield FoundModel(name, "recent", path, _size(path))
        except OSError:  # a disk that does not answer: it may be there next time
            continue


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(model.size_bytes for model in models_below(path, depth=0))


def label_of(model: FoundModel) -> str:
    """The name below the heading of its shelf; of a path its last part."""
    if model.shelf in ("ollama", "lmstudio"):
        return model.name.partition("/")[2]
    if model.shelf == "catalogue":
        return model.name.rpartition("/")[2]
    if model.shelf == "recent" and model.path is not None:
        return snapshot_name(model.path) or model.path.name
    return model.name


def facts_of(model: FoundModel, known: KnownFacts) -> Facts:
    """What its headers say; of one that is not here, what its name tells.

    Args:
        model: from `list_found`.
        known: what is read goes there.
    """
    if model.path is None or model.problem:
        return Facts(quantisation=_type_by_name(model), problem=model.problem)
    return known.of(model.path)


def _type_by_name(model: FoundModel) -> str:
    """The quantised type by the name of the catalogue's file: `Q4_1`."""
    entry = model.file.entry if model.file else None
    groups = gguf_groups([entry.file_name]) if entry else []
    return groups[0].label if groups else ""
