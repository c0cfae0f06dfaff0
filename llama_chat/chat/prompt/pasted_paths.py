"""Paths as terminals type them when a file is dropped: quoted, with backslashes, as file:// addresses."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from llama_chat.chat.prompt.typed_path import is_there, typed_path
from llama_chat.errors import UsageError

MOST_FILES = 32
_MOST_CHARACTERS = 8_192
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def dropped_files(text: str) -> list[Path]:
    """The files that the text names and nothing else; none where one of them is not there.

    Asks the disk. Only whole paths count: a word is not taken for the file that happens to have its name.
    """
    if not may_be_paths(text):
        return []
    for names in _readings(text.strip()):
        if names and len(names) <= MOST_FILES and all(_is_whole(name) for name in names):
            paths = [_path(name) for name in names]
            if all(_is_file(path) for path in paths):
                return paths
    return []


def may_be_paths(text: str) -> bool:
    """Whether the text looks so, without asking the disk."""
    start = text.lstrip()[:8].lstrip("\"'")
    return len(text) <= _MOST_CHARACTERS and _is_whole(start or " ")


def typed_files(words: str) -> list[Path]:
    """The paths behind `/attach`: one with its spaces, or several as a shell parts them. Asks the disk.

    Where nothing is there, and nothing was quoted, it is one: an error then names all that was typed.

    Raises:
        UsageError: nothing but quotes.
    """
    whole = _path(words)
    if is_there(whole):
        return [whole]
    names = list(filter(None, _parted(words)))
    if not names:
        raise UsageError("Which file?", hint="/attach notes.md, for example.")
    paths = [_path(name) for name in names]
    is_plain = names == words.split()
    return paths if not is_plain or any(is_there(path) for path in paths) else [whole]


def _readings(text: str) -> Iterator[list[str]]:
    """Ways to read the text, the plainest first."""
    yield [line.strip() for line in text.split("\n") if line.strip()]
    yield [name for line in text.split("\n") for name in _parted(line)]


def _parted(line: str) -> list[str]:
    try:
        if os.name == "nt":  # there a backslash is no escape
            return [name.strip("\"'") for name in shlex.split(line, posix=False)]
        return shlex.split(line)
    except ValueError:  # a quote is not closed
        return [line]


def _is_whole(name: str) -> bool:
    return name.startswith(("/", "~", "file:/", "\\\\")) or _DRIVE.match(name) is not None


def _path(name: str) -> Path:
    if not name.startswith("file:/"):
        return typed_path(name)
    path = unquote(urlsplit(name).path)
    return Path(path.lstrip("/") if _DRIVE.match(path.lstrip("/")) else path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
