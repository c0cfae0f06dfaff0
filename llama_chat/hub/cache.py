"""The Hub's cache on this disk, which other programs share: found, listed and written as its reference says.

The layout (huggingface.co/docs/hub/local-cache, 2026-11): `models--owner--name/` with `blobs/<hash>`,
`snapshots/<commit>/<file>` (links to blobs), `refs/<branch>` (a commit).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llama_chat.errors import ModelError
from llama_chat.hub.choice import Choice, choose, gguf_groups
from llama_chat.hub.names import COMMIT, DEFAULT_REVISION, HubModel

PARTIAL_ENDING = ".llama-chat.incomplete"
"""Of a blob on its way. `*.incomplete` is what the Hub's own tools take for a leftover that may go."""
_PREFIX = "models--"
_MOST_CONFIG_BYTES = 1 << 20
_RUNS = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True, slots=True)
class Cached:
    """A model in the cache, whole or not."""

    model: HubModel
    path: Path
    """What is loaded: a snapshot's folder, its `original`, or a GGUF file."""
    commit: str
    size_bytes: int
    missing: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it can be loaded."""
        return not self.missing


def cache_folder() -> Path:
    """Where the Hub's cache is, by the variables that all its programs obey; it need not exist."""
    environment = os.environ
    if place := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        folder = Path(place)
    elif place := environment.get("HF_HOME"):
        folder = Path(place) / "hub"
    else:
        folder = Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"
    return Path(os.path.expandvars(folder)).expanduser().absolute()


def is_offline() -> bool:
    """Whether the user keeps the Hub's programs off the network: `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def has_token() -> bool:
    """Whether there is a token for the Hub: in `HF_TOKEN`, or in the file that its login writes."""
    environment = os.environ
    if environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    file = Path(environment.get("HF_TOKEN_PATH") or Path(home, "token"))
    try:
        return Path(os.path.expandvars(file)).expanduser().stat().st_size > 0
    except (OSError, RuntimeError, ValueError):
        return False


def repo_folder(repo_id: str) -> Path:
    """All that the cache has of a repository."""
    return cache_folder() / (_PREFIX + repo_id.replace("/", "--"))


def cached_path(model: HubModel) -> Path | None:
    """What is to be loaded, where all of it is in the cache; None otherwise.

    Raises:
        ModelError: several GGUF models of it are there.
    """
    found = find_cached(model)
    return found.path if found is not None and found.is_whole else None


def find_cached(model: HubModel) -> Cached | None:
    """The model as the cache has it, whole or not; None where its weights are not there at all.

    Raises:
        ModelError: several GGUF models of it are there.
    """
    folder = repo_folder(model.repo_id)
    commit = _commit_of(folder, model.revision)
    snapshot = folder / "snapshots" / (commit or "none")
    if commit is None or not snapshot.is_dir():
        return None
    try:
        names = _names_in(snapshot)
        return _cached(model, snapshot, choose(names, model))
    except OSError as error:
        raise ModelError(f"{error.filename or snapshot}: {error.strerror or error}.") from error
    except ModelError:
        if not model.label and len(gguf_groups(names)) > 1:
            raise
        return None


def list_cached() -> list[Cached]:
    """Every model of the cache that can be run, by name; those that are not whole, too."""
    found: list[Cached] = []
    with suppress(OSError):
        for folder in sorted(cache_folder().glob(f"{_PREFIX}*--*")):
            with suppress(OSError):  # it belongs to somebody else, or goes away at this moment
                found.extend(_list_repo(folder))
    return found


def is_in_cache(model: HubModel) -> bool:
    """Whether the cache has anything of its repository, whole or not."""
    return repo_folder(model.repo_id).is_dir()


def partial_bytes(repo_id: str) -> int:
    """What is here of files that are on their way."""
    try:
        files = repo_folder(repo_id).glob(f"blobs/*{PARTIAL_ENDING}")
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0


def _list_repo(folder: Path) -> Iterator[Cached]:
    repo_id = folder.name.removeprefix(_PREFIX).replace("--", "/")
    names = {commit: ref for ref, commit in _refs(folder)}
    snapshots = sorted(path for path in folder.glob("snapshots/*") if COMMIT.fullmatch(path.name))
    has_weights = False
    for snapshot in snapshots:
        model = HubModel(repo_id, names.get(snapshot.name, snapshot.name))
        for choice in _choices(snapshot, model):
            found = _cached(HubModel(repo_id, model.revision, choice.label), snapshot, choice)
            has_weights = True
            yield found
    begun = partial_bytes(repo_id)
    if begun and not has_weights:
        yield Cached(HubModel(repo_id), folder, "", begun, ("the rest",))


def _choices(snapshot: Path, model: HubModel) -> list[Choice]:
    names = _names_in(snapshot)
    groups = gguf_groups(names)
    with suppress(ModelError):
        choice = choose(names, model)
        if choice.kind != "gguf" and (choice.kind != "hf" or _is_language_model(snapshot)):
            return [choice, *groups]
    return groups


def _cached(model: HubModel, snapshot: Path, choice: Choice) -> Cached:
    sizes = (snapshot.joinpath(name).stat().st_size for name in choice.names)
    path = snapshot / choice.place
    return Cached(model, path, snapshot.name, sum(sizes), choice.missing)


def _commit_of(folder: Path, revision: str) -> str | None:
    if COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii", errors="replace")[:100].strip()
    except OSError:
        return None
    return commit if COMMIT.fullmatch(commit) else None


def _refs(folder: Path) -> list[tuple[str, str]]:
    """Names and their commits, the default last: so it is the one that a mapping keeps."""
    refs = folder / "refs"
    names = [path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file()]
    found = [(name, commit) for name in names if (commit := _commit_of(folder, name))]
    return sorted(found, key=lambda ref: (ref[0] == DEFAULT_REVISION, ref[0]))


def _names_in(snapshot: Path) -> list[str]:
    """Every file; a link whose blob has gone is none."""
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def _is_language_model(snapshot: Path) -> bool:
    """Whether config.json speaks of a model that writes text; one that does not say is given the chance."""
    path = snapshot / "config.json"
    try:
        if path.stat().st_size > _MOST_CONFIG_BYTES:
            return False
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return not path.exists()
    names = config.get("architectures") if isinstance(config, dict) else None
    return not names or any(part in str(name) for name in names for part in _RUNS)
