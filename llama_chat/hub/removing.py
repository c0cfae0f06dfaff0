"""Models deleted out of the Hub's cache."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from llama_chat.errors import ModelError
from llama_chat.hub.cache import Cached, cache_folder, find_cached, repo_folder
from llama_chat.hub.choice import choose
from llama_chat.hub.lock import locked
from llama_chat.hub.names import DEFAULT_REVISION, HubModel

LOCK_WAIT_S = 0.5


def remove(model: HubModel) -> Path:
    """Delete the model: all of its repository, or with a label that GGUF alone; what stood for it.

    Raises:
        ModelError: it is not there, is being fetched at this moment, or cannot be deleted.
    """
    folder = repo_folder(model.repo_id)
    if not folder.is_dir():
        raise ModelError(f"{model.name} is not in the Hub's cache, {cache_folder()}.")
    try:
        with locked(model.repo_id, LOCK_WAIT_S):
            if model.label or model.revision != DEFAULT_REVISION:
                return _remove_part(model, folder)
            _remove_all(model.repo_id, folder)
    except TimeoutError as error:
        raise ModelError(
            f"{model.name} is being fetched or removed at this moment; nothing was removed",
            hint="Stop that, or wait for its end, and remove it then.",
        ) from error
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder}: {error.strerror or error}; not all was removed."
        ) from error
    return folder


def _remove_all(repo_id: str, folder: Path) -> None:
    """The library first: it knows which blobs lie in a store that repositories share."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    with suppress(CacheNotFound, ValueError):
        found = scan_cache_dir(cache_folder())
        commits = [
            revision.commit_hash
            for repo in found.repos
            if repo.repo_type == "model" and repo.repo_id == repo_id
            for revision in repo.revisions
        ]
        found.delete_revisions(*commits).execute()
    if folder.exists():
        shutil.rmtree(folder)


def _remove_part(model: HubModel, folder: Path) -> Path:
    """The files of one GGUF, or of one revision; blobs that another snapshot shows stay."""
    found: Cached | None = find_cached(model)
    if found is None:
        raise ModelError(f"{model.name} is not in the Hub's cache, {cache_folder()}.")
    snapshot = folder / "snapshots" / found.commit
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    wanted = choose(names, model).names if model.label else names
    blobs = {(snapshot / name).resolve() for name in wanted}
    for name in wanted:
        (snapshot / name).unlink()
    used = {path.resolve() for path in folder.glob("snapshots/*/**/*") if path.is_file()}
    for blob in blobs - used:
        if blob.parent == (folder / "blobs").resolve():
            blob.unlink(missing_ok=True)
    if len(wanted) == len(names):
        shutil.rmtree(snapshot)
        if not model.label:
            (folder / "refs" / model.revision).unlink(missing_ok=True)
    return found.path
