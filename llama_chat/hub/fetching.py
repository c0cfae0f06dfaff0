"""A model of the Hub fetched into the Hub's cache: checked by hashes, and a stop at any moment costs nothing.

huggingface_hub itself begins a broken download anew (2.4, 2026-11: each goes to a file of its own, deleted
when it breaks), which is no way to fetch 16 GB. So a file on its way lies beside the others under a name of
ours and grows by what is missing. The links that make it findable come when every file is whole: what can
be found can be loaded.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llama_chat.errors import Interrupted, ModelError, PullError
from llama_chat.hub.aside import KEPT, do_aside
from llama_chat.hub.blob import Blob, Count
from llama_chat.hub.cache import cache_folder, find_cached, is_offline, partial_bytes, repo_folder
from llama_chat.hub.choice import Choice, choose
from llama_chat.hub.client import ConnectionBroke, Listing, RemoteFile, look_up, not_reached, open_download
from llama_chat.hub.lock import locked
from llama_chat.hub.names import COMMIT, HubModel
from llama_chat.paths import write_atomically
from llama_chat.pull_progress import Download, Report
from llama_chat.units import about_bytes, bytes_text

SPARE_BYTES = 16 << 20
LOCK_POLL_S = 0.2
OFFLINE = "HF_HUB_OFFLINE keeps it off the network"


def fetch(model: HubModel, report: Report, cancel: threading.Event) -> Path:
    """What is to be loaded, in the Hub's cache; where the Hub cannot be asked, what is whole there already.

    Raises:
        PullError: it could not be fetched; what is here already is kept for the next time.
        ModelError: the repository has no model that can be run, or several to choose from.
        Interrupted: `cancel` was set.
    """
    if is_offline():
        return _without_network(model, OFFLINE, report)
    try:
        return do_aside(lambda tell, stop: _fetch(model, tell, stop), report, cancel)
    except ConnectionBroke as error:
        return _without_network(model, str(error), report)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a fetch would bring."""

    commit: str
    size_bytes: int
    files: tuple[str, ...]
    licence: str | None
    is_gated: bool


def ask(model: HubModel, cancel: threading.Event) -> Offer:
    """What the Hub says of the model; nothing is fetched.

    Raises:
        PullError: the Hub does not answer, or has no such model.
        ModelError: it has no model that can be run, or several to choose from.
        Interrupted: `cancel` was set.
    """
    if is_offline():
        raise not_reached(model, OFFLINE)
    try:
        listing = do_aside(lambda _tell, _stop: look_up(model), lambda _: None, cancel)
    except ConnectionBroke as error:
        raise not_reached(model, str(error)) from error
    names = choose(listing.files, model).names
    size_bytes = sum(listing.files[name].size_bytes for name in names)
    return Offer(listing.commit, size_bytes, names, listing.licence, listing.is_gated)


def _without_network(model: HubModel, why: str, report: Report) -> Path:
    found = find_cached(model)
    if found is not None and found.is_whole:
        told = Download(f"Taking {model.title} from the cache: {why}", found.size_bytes, report)
        told(found.size_bytes, found.size_bytes)
        return found.path
    error = not_reached(model, why)
    if found is not None:
        more = f" and {len(found.missing) - 3} more" if len(found.missing) > 3 else ""
        what = f"The cache has it in part; {', '.join(found.missing[:3])}{more} missing."
    elif begun_bytes := partial_bytes(model.repo_id):
        what = f"{bytes_text(begun_bytes)} of it are here."
    else:
        raise error
    raise PullError(f"{error.message} {what}", hint=error.hint)


def _fetch(model: HubModel, report: Report, stop: threading.Event) -> Path:
    listing = look_up(model)
    choice = choose(listing.files, model)
    if choice.missing:
        raise ModelError(
            f"{model.repo_id} is not whole: it has no {choice.missing[0]}.", hint=f"See {model.page}"
        )
    pull = _Pull(model, listing, choice, stop)
    try:
        pull.check_space()
        with _only_one(model, report, stop):
            pull.fetch_files(report)
            pull.link_files()
    except OSError as error:
        raise pull.disk_error(error) from error
    return pull.snapshot / choice.place


class _Pull:
    """Brings the chosen files of one commit."""

    def __init__(self, model: HubModel, listing: Listing, choice: Choice, stop: threading.Event) -> None:
        self._model, self._listing, self._choice = model, listing, choice
        self._folder = repo_folder(model.repo_id)
        self.snapshot = self._folder / "snapshots" / listing.commit
        # Small ones first: a gate is met before gigabytes are on their way.
        self._files = sorted((listing.files[name] for name in choice.names), key=lambda file: file.size_bytes)
        self._blobs = {file.name: Blob(file, self._folder / "blobs", stop) for file in self._files}
        self._total_bytes = sum(file.size_bytes for file in self._files)

    def check_space(self) -> None:
        """Raises `OSError` if what is missing does not fit on the disk."""
        missing_bytes = self._missing_bytes()
        place = next(path for path in (self._folder, *self._folder.parents) if path.exists())
        if missing_bytes > 0 and shutil.disk_usage(place).free < missing_bytes + SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fetch_files(self, report: Report) -> None:
        """Every file is whole in the cache afterwards."""
        (self._folder / "blobs").mkdir(parents=True, exist_ok=True)
        missing = self._missing()
        self._read_partial([blob for blob in missing if blob.partial_bytes], report)
        told = Download(f"Downloading {self._model.title}", self._total_bytes, report, keeps_part=True)
        done_bytes = self._total_bytes - self._missing_bytes()
        open_file = partial(open_download, self._model, self._listing.commit)
        told(done_bytes, self._total_bytes)
        for blob in missing:
            elsewhere = done_bytes - blob.partial_bytes
            blob.fetch(open_file, _counting(told, elsewhere, self._total_bytes))
            done_bytes = elsewhere + blob.file.size_bytes
        told.end(self._total_bytes, f"Putting {self._model.title} in place")

    def _read_partial(self, begun: list[Blob], report: Report) -> None:
        if not begun:
            return
        total_bytes, before = sum(blob.partial_bytes for blob in begun), 0
        told = Download(f"Reading what is here of {self._model.title}", total_bytes, report, keeps_part=True)
        for blob in begun:
            blob.read_partial(_counting(told, before, total_bytes))
            before += blob.partial_bytes

    def link_files(self) -> None:
        """Make the snapshot, and the branch's name for it: the model can be found from now on."""
        for name in self._choice.names:
            _link(self._blobs[name], self.snapshot / name)
        revision = self._model.revision
        if not COMMIT.fullmatch(revision):
            ref = self._folder / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(ref, self._listing.commit.encode(), mode=0o644)

    def disk_error(self, error: OSError) -> PullError:
        """What is wrong with the disk, in words; what is here stays for the next time."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return PullError(
                f"{cache_folder()}: not enough space on the disk for {self._model.name}; "
                f"what is missing needs {about_bytes(self._missing_bytes() + SPARE_BYTES)}.",
                hint="Make room and pull again, it goes on from there; HF_HUB_CACHE=DIR names another place.",
            )
        where = error.filename or cache_folder()
        return PullError(
            f"{where}: {error.strerror or error}; {self._model.name} was not fetched.",
            hint="The Hub's cache must be writable; HF_HUB_CACHE=DIR names another.",
        )

    def _missing_bytes(self) -> int:
        return sum(blob.file.size_bytes - blob.partial_bytes for blob in self._missing())

    def _missing(self) -> list[Blob]:
        return [self._blobs[file.name] for file in self._files if not self._is_here(file)]

    def _is_here(self, file: RemoteFile) -> bool:
        places = (self._blobs[file.name].path, self.snapshot / file.name)
        return any(place.is_file() and place.stat().st_size == file.size_bytes for place in places)


def _counting(told: Download, elsewhere_bytes: int, total_bytes: int) -> Count:
    """Tells one file's bytes as part of all."""
    return lambda here_bytes: told(elsewhere_bytes + here_bytes, total_bytes)


def _link(blob: Blob, place: Path) -> None:
    """Make the file findable; where there are no links, it moves there, as the Hub's own tools do it."""
    if place.is_file() and place.stat().st_size == blob.file.size_bytes:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        place.symlink_to(os.path.relpath(blob.path, place.parent))
    except (OSError, NotImplementedError):
        blob.path.replace(place)


@contextmanager
def _only_one(model: HubModel, report: Report, stop: threading.Event) -> Iterator[None]:
    """Hold the lock on this repository; others of this program wait.

    Raises:
        Interrupted: `stop` was set while another one had it.
    """
    told: Download | None = None
    with ExitStack() as held:
        while True:
            if stop.is_set():
                raise Interrupted(KEPT)
            try:
                held.enter_context(locked(model.repo_id, LOCK_POLL_S))
                break
            except TimeoutError:
                told = told or Download(
                    f"Waiting for another fetch of {model.title}", 0, report, keeps_part=True
                )
        yield
