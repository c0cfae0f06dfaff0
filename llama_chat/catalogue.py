"""Model names and the files behind them: the default model, the models folder, any path, the Hub's cache.

What is inside a file is the engine's business; here it is only found, listed, fetched and removed.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from llama_chat import hub
from llama_chat.errors import ModelError
from llama_chat.hub import HubModel
from llama_chat.model_names import (
    DEFAULT,
    ENTRIES,
    GIVE_A_MODEL,
    CatalogueEntry,
    Fetchable,
    entry_named,
    fetched_file,
    find_model,
    plain_name,
    visible_models,
)
from llama_chat.pull import PullProgress, pull
from llama_chat.pull_progress import Report

__all__ = [
    "DEFAULT",
    "ENTRIES",
    "GIVE_A_MODEL",
    "CatalogueEntry",
    "Fetchable",
    "HubModel",
    "ModelFile",
    "PullProgress",
    "fetch",
    "find_fetchable",
    "find_model",
    "list_models",
    "pull",
    "remove",
    "show",
]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model of the catalogue, in the models folder, at a path, or in the Hub's cache."""

    name: str
    path: Path | None
    """None: known, but not fetched yet."""
    size_bytes: int
    """On the disk; of a model that is not fetched, what it will be."""
    entry: CatalogueEntry | None = None
    hub: HubModel | None = None
    commit: str = ""
    """Of a model of the Hub."""
    missing: tuple[str, ...] = ()
    """What a fetch that was broken off did not bring."""

    @property
    def is_default(self) -> bool:
        """Whether it runs when no model is named."""
        return self.entry is DEFAULT


def find_fetchable(name: str) -> Fetchable:
    """The catalogue's entry of this name, in any case (the default for an empty one), or the Hub's model.

    Raises:
        ModelError: the catalogue has no such name, and it is no id of the Hub.
    """
    if found := entry_named(name) or hub.parse_hub_id(name):
        return found
    raise ModelError(
        f"The catalogue has no model '{plain_name(name)}'.",
        hint=f"It has: {', '.join(ENTRIES)}. Models of the Hugging Face Hub are named owner/name.",
    )


def fetch(model: Fetchable, models_folder: Path, report: Report, cancel: threading.Event) -> Path:
    """The model on this disk: of the catalogue in the models folder, of the Hub in the Hub's cache.

    Raises:
        PullError: it could not be fetched.
        ModelError: the Hub has no such model that can be run, or several to choose from.
        Interrupted: `cancel` was set.
    """
    if isinstance(model, HubModel):
        from llama_chat.hub.fetching import fetch as fetch_from_hub

        return fetch_from_hub(model, report, cancel)
    return pull(model, models_folder, report, cancel)


def list_models(models_folder: Path) -> list[ModelFile]:
    """The catalogue, fetched or not, whatever else is in the models folder, the Hub's cache; by name.

    Raises:
        ModelError: the folder cannot be read.
    """
    names = {entry.file_name for entry in ENTRIES.values()}
    try:
        known = [_of_entry(entry, models_folder) for entry in ENTRIES.values()]
        others = [path for path in visible_models(models_folder) if path.name not in names]
        local = known + [_of_path(path) for path in sorted(others)]
        return local + [_of_cached(cached) for cached in hub.list_cached()]
    except OSError as error:
        raise ModelError(f"{error.filename or models_folder}: {error.strerror or error}.") from error


def show(model: str, models_folder: Path) -> ModelFile:
    """What is known of one model without opening it.

    Raises:
        ModelError: nothing fits.
    """
    found = find_model(model, models_folder)
    if isinstance(found, CatalogueEntry):
        return _of_entry(found, models_folder)
    if isinstance(found, HubModel):
        cached = hub.find_cached(found)
        return _of_cached(cached) if cached else ModelFile(found.name, None, 0, hub=found)
    hub_model = hub.parse_hub_id(model)
    cached = hub.find_cached(hub_model) if hub_model else None
    if cached is not None and cached.path == found:
        return _of_cached(cached)
    for entry in ENTRIES.values():
        if found == fetched_file(entry, models_folder):
            return _of_entry(entry, models_folder)
    return _of_path(found)


def remove(model: str, models_folder: Path) -> Path:
    """Delete a model out of the models folder or the Hub's cache, and nowhere else; the path that it had.

    Raises:
        ModelError: no such model, not fetched, in another place, or it cannot be deleted.
    """
    if hub_model := removable_from_cache(model, models_folder):
        from llama_chat.hub.removing import remove as remove_from_hub

        return remove_from_hub(hub_model)
    here = {path.name: path for path in visible_models(models_folder)}
    found = here.get(model) or here.get(f"{model}.gguf") or find_model(model, models_folder)
    if not isinstance(found, Path):
        raise ModelError(f"{found.name} is not on this disk.")
    if found.parent.resolve() != models_folder.resolve() or found.name not in here:
        raise ModelError(
            f"{found} is no model in the models folder, {models_folder}.",
            hint="Delete it yourself if you mean it.",
        )
    try:
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink()
    except OSError as error:
        raise ModelError(f"{found}: {error.strerror or error}; it was not removed.") from error
    return found


def removable_from_cache(model: str, models_folder: Path) -> HubModel | None:
    """The model of the Hub that `remove` would delete; None where the words mean a file or something else."""
    hub_model = hub.parse_hub_id(model)
    try:
        is_local = any(place.exists() for place in (Path(model), models_folder / model))
    except (OSError, ValueError):
        return None
    return hub_model if hub_model is not None and not is_local and hub.is_in_cache(hub_model) else None


def _of_entry(entry: CatalogueEntry, models_folder: Path) -> ModelFile:
    return ModelFile(entry.name, fetched_file(entry, models_folder), entry.size_bytes, entry)


def _of_cached(cached: hub.Cached) -> ModelFile:
    path = cached.path if cached.is_whole else None
    model = cached.model
    return ModelFile(
        model.name, path, cached.size_bytes, hub=model, commit=cached.commit, missing=cached.missing
    )


def _of_path(path: Path) -> ModelFile:
    files = path.rglob("*") if path.is_dir() else iter((path,))
    return ModelFile(path.name, path, sum(file.stat().st_size for file in files if file.is_file()))
