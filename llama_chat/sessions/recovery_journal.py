"""The moment in which a recovered store takes the damaged one's place, so that no death in it loses anything.

Several files change their names, one by one. What is to become of them is written down before, and finished
by whoever opens the store next.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from llama_chat.paths import write_atomically

SUFFIXES = ("", "-wal", "-shm")
FOLDER_PREFIX = ".recovery-"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of a damaged store."""

    damaged: Path
    """Where it lies now."""
    sessions: int
    messages: int
    without_tokens: int = 0
    """Of these messages: replies of which only the text came back."""
    missing: int = 0
    """Numbers of messages between the first and the last that are not there."""

    def notice(self, path: Path) -> str:
        """What the user is told."""
        lost = []
        if self.without_tokens == 1:
            lost.append("1 reply came back without its tokens")
        elif self.without_tokens:
            lost.append(f"{self.without_tokens:,} replies came back without their tokens")
        if self.missing == 1:
            lost.append("up to 1 message before the last one is lost, unless it was deleted")
        elif self.missing:
            lost.append(
                f"up to {self.missing:,} messages before the last one are lost, unless they were deleted"
            )
        found = (
            f"{self.sessions:,} sessions with {self.messages:,} messages could be read and are in {path}"
            if self.messages
            else f"nothing in it could be read; {path} is a new, empty one"
        )
        outcome = "; ".join((found, *lost))
        return (
            f"The store of the sessions was damaged: {outcome}. The damaged one is kept for 30 days as "
            f"{self.damaged}."
        )


@dataclass(frozen=True, slots=True)
class _Journal:
    damaged: str
    """The name that the damaged file gets."""
    fresh: str
    """Where the new one lies, seen from the store's folder."""
    sessions: int
    messages: int
    without_tokens: int = 0
    missing: int = 0


def journal_of(path: Path) -> Path:
    """The file that is there while a damaged store is being replaced."""
    return path.with_name(f"{path.name}.recovery")


def replace_by(path: Path, fresh: Path, recovered: Recovered) -> None:
    """Set the store aside as `recovered.damaged` and put `fresh`, of a folder beside it, in its place.

    Raises:
        OSError: the disk does not take it; the damaged file is where it was.
    """
    names = (recovered.damaged.name, fresh.relative_to(path.parent).as_posix())
    counts = (recovered.sessions, recovered.messages, recovered.without_tokens, recovered.missing)
    journal = _Journal(*names, *counts)
    _sync(fresh)
    write_atomically(journal_of(path), json.dumps(asdict(journal)).encode())
    try:
        _roll_forward(path, fresh, recovered.damaged)
    except OSError:
        _roll_back(path, recovered.damaged)
        journal_of(path).unlink(missing_ok=True)
        raise
    journal_of(path).unlink(missing_ok=True)


def finish(path: Path) -> Recovered | None:
    """Do the rest of what a program was ended in; None where nothing, or nothing that can be read, was begun.

    Raises:
        OSError: the disk does not take it.
    """
    try:
        journal = _Journal(**json.loads(journal_of(path).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        journal_of(path).unlink(missing_ok=True)
        return None
    fresh, damaged = path.parent / journal.fresh, path.with_name(journal.damaged)
    if fresh.exists():
        _roll_forward(path, fresh, damaged)
    elif not path.exists():
        _roll_back(path, damaged)
    journal_of(path).unlink(missing_ok=True)
    forget_attempts(path)
    counts = (journal.sessions, journal.messages, journal.without_tokens, journal.missing)
    return Recovered(damaged, *counts) if damaged.exists() else None


def forget_attempts(path: Path) -> None:
    """Remove what unfinished recoveries left: folders that hold copies of the store, and journals."""
    import shutil  # 8 ms: only where something is to be removed

    for folder in path.parent.glob(f"{FOLDER_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for unfinished in path.parent.glob(f".{journal_of(path).name}.*.part"):
        unfinished.unlink(missing_ok=True)


def _roll_forward(path: Path, fresh: Path, damaged: Path) -> None:
    _move(path, damaged)
    for suffix in SUFFIXES:  # they are kept for a time from now on
        with contextlib.suppress(FileNotFoundError):
            os.utime(f"{damaged}{suffix}")
    fresh.replace(path)
    _sync(path.parent)


def _roll_back(path: Path, damaged: Path) -> None:
    _move(damaged, path)


def _move(path: Path, target: Path) -> None:
    """The file and what belongs to it; the log first, which without its file means nothing."""
    for suffix in reversed(SUFFIXES):
        if not Path(f"{target}{suffix}").exists():  # else it was moved before
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{target}{suffix}")


def _sync(path: Path) -> None:
    """Let it outlive a loss of power, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
