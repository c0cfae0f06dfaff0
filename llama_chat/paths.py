"""Where files live: platformdirs' places, or all under `LLAMA_CHAT_HOME`; and how they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

APP_NAME = "llama-chat"


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one user; naming them makes none of them."""

    config: Path
    data: Path
    cache: Path
    log: Path

    @property
    def settings_file(self) -> Path:
        """The user's `settings.toml`, which need not exist."""
        return self.config / "settings.toml"

    @property
    def user_themes(self) -> Path:
        """The folder of the user's own theme files."""
        return self.config / "themes"

    @property
    def prompts(self) -> Path:
        """The folder of the user's own system prompts."""
        return self.config / "prompts"

    @property
    def models(self) -> Path:
        """The folder that fetched models are moved into."""
        return self.data / "models"

    @property
    def sessions_file(self) -> Path:
        """The SQLite file that holds every session."""
        return self.data / "sessions.sqlite3"

    @property
    def benchmarks_file(self) -> Path:
        """Every run of `bench`, one a line."""
        return self.data / "benchmarks.jsonl"

    @property
    def welcomed_file(self) -> Path:
        """An empty file: the three screens for newcomers were seen."""
        return self.data / "welcomed"

    @property
    def log_file(self) -> Path:
        """The rotating log."""
        return self.log / "llama-chat.log"


def user_paths() -> Paths:
    """The folders for this user, after a look at `LLAMA_CHAT_HOME`."""
    if home := os.environ.get("LLAMA_CHAT_HOME"):
        root = Path(home).expanduser().resolve()
        return Paths(root / "config", root / "data", root / "cache", root / "log")
    from platformdirs import PlatformDirs  # 12 ms: not on the way to `--help`

    dirs = PlatformDirs(APP_NAME, appauthor=False)
    return Paths(dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path, Path(dirs.user_log_dir))


def bundled_themes() -> Path:
    """The folder of the themes that come with the program, in a wheel or in a checkout."""
    installed = Path(__file__).parent / "themes"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "themes"


def make_private_folder(folder: Path) -> Path:
    """The folder, made if need be so that only its owner can look into it.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace the file by the content in one step: a reader or a crash sees the old one or the new one.

    Raises:
        OSError: the folder or the disk does not take it; the old file is untouched.
    """
    make_private_folder(path.parent)
    with replacing(path, mode=mode) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file that takes the place of the path once the block is left; an error leaves the path as it was.

    Raises:
        OSError: the folder or the disk does not take it.
    """
    import tempfile  # 6 ms: not on the way to `--help`

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(mode)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
