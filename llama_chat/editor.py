"""The user's own editor: which one it is, and text that is written in it instead of on our screen."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from llama_chat.errors import SettingsError

_EDITORS = ("nano", "vim", "vi", "notepad")
_FILE_NAME = "prompt.md"


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The user's editor and its arguments.

    Raises:
        SettingsError: none is set, and none of the usual ones is there.
    """
    for variable in ("VISUAL", "EDITOR"):
        if words := environment.get(variable, "").strip():
            try:
                return shlex.split(words, posix=os.name != "nt")
            except ValueError as error:
                raise SettingsError(f"${variable} is {words!r}: {error}.") from error
    found = next(filter(None, map(shutil.which, _EDITORS)), None)
    if found is None:
        raise SettingsError("There is no editor.", hint="Name one in the variable EDITOR.")
    return [found]


def edit_file(path: Path) -> None:
    """Have the file open in the user's editor until that ends.

    Raises:
        SettingsError: there is no editor, it does not start, or it ended with a failure.
    """
    command = editor_command(os.environ)
    try:
        status = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise SettingsError(
            f"The editor {command[0]} does not start: {error.strerror or error}.",
            hint="Name another one in the variable EDITOR.",
        ) from error
    if status:
        raise SettingsError(f"The editor {command[0]} ended with status {status}.")


def edit_text(text: str) -> str:
    """The text as the user leaves it in his editor, without the line end that editors add.

    It lies meanwhile in a Markdown file that only the user can read, in a folder of its own; both go, but for
    words that cannot be taken: they stay there, and the error says where. Ctrl+C is for the editor alone.

    Raises:
        SettingsError: there is no editor, it failed, or what it left is no text or cannot be read.
        OSError: the file cannot be written.
    """
    folder = Path(tempfile.mkdtemp(prefix="llama-chat-"))
    path, before = folder / _FILE_NAME, text.encode("utf-8", "replace")
    is_needed = False
    try:
        path.touch(mode=0o600)
        path.write_bytes(before)
        is_needed = True  # until it is known that no new words are in it
        try:
            with _without_interrupts():
                edit_file(path)
            edited = path.read_text("utf-8-sig")
        except FileNotFoundError:
            is_needed = False
            return text
        except (SettingsError, UnicodeDecodeError, OSError) as error:
            is_needed = _may_have_new_words(path, before)
            raise _not_taken(error, path if is_needed else None) from error
        is_needed = False
    finally:
        if not is_needed:
            shutil.rmtree(folder, ignore_errors=True)
    return edited if text.endswith("\n") else edited.removesuffix("\n")


def _may_have_new_words(path: Path, before: bytes) -> bool:
    try:
        return path.read_bytes() != before
    except FileNotFoundError:
        return False
    except OSError:  # nobody knows
        return True


def _not_taken(error: SettingsError | UnicodeDecodeError | OSError, kept: Path | None) -> SettingsError:
    """Why the old text stays, and where the new one is."""
    message, hint = "What the editor left is not in UTF-8.", "The old text stays."
    if isinstance(error, SettingsError):
        message, hint = error.message, error.hint
    elif isinstance(error, OSError):
        message = f"What the editor left cannot be read: {error.strerror or error}."
    return SettingsError(message, hint=f"What was written is in {kept}." if kept is not None else hint)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl+C on a terminal goes to all programs on it; a handler, unlike ignoring it, is not inherited."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
