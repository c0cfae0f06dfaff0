"""Where an export goes: a terminal, a pipe, or a file that appears whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from llama_chat.errors import StoreError
from llama_chat.paths import replacing

STDOUT = "-"


def write_parts(parts: Iterable[str], output: str, *, force: bool) -> None:
    """Write the parts as UTF-8.

    Args:
        parts: made while they are written.
        output: a path, or `-`.
        force: replace a file that is there.

    Raises:
        StoreError: the file is there and may not be replaced, or cannot be written.
    """
    if output == STDOUT:
        _print(parts)
        return
    path = Path(output)
    check_is_free(path, force=force)
    try:
        if path.exists() and not path.is_file():  # a device or a pipe with a name
            with path.open("wb") as file:
                file.writelines(part.encode() for part in parts)
        else:
            _write_atomically(path.resolve(), parts, force=force)
    except OSError as error:
        raise StoreError(f"{output} cannot be written: {error.strerror or error}.") from error


def check_is_free(path: Path, *, force: bool) -> None:
    """Make sure that nothing is lost by writing there.

    Raises:
        StoreError: a file would be.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder.", hint="Name a file in it.")
    if path.is_file() and not force:
        raise StoreError(f"{path} is there already.", hint="Add --force to replace it.")


def _print(parts: Iterable[str]) -> None:
    if sys.stdout.isatty():
        for part in parts:
            click.echo(part, nl=False)
        return
    sys.stdout.flush()
    # Bytes: whatever the pipe's encoding is said to be, nothing may be replaced by question marks.
    sys.stdout.buffer.writelines(part.encode() for part in parts)
    sys.stdout.buffer.flush()


def _write_atomically(path: Path, parts: Iterable[str], *, force: bool) -> None:
    with replacing(path) as file:
        file.writelines(part.encode() for part in parts)
        check_is_free(path, force=force)  # it may have come meanwhile
