"""The settings file changed in one step, by one writer at a time; an error leaves it as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llama_chat.errors import SettingsError
from llama_chat.paths import write_atomically
from llama_chat.toml_edit import read_toml

_changing = threading.Lock()


def change_file(path: Path, change: Callable[[str], str], what: str, hint: str) -> None:
    """Replace the text of the file; where there is none, it begins empty.

    Args:
        path: of the file; where it is a link, what it leads to is changed.
        change: from the text to the new one; raises `ValueError` where that cannot be.
        what: what is saved, for the words of an error: `the setting`.
        hint: what to do about a file that cannot be changed so.

    Raises:
        SettingsError: it is not TOML or cannot be read or written.
    """
    with _changing:
        target = path.resolve()
        try:
            text = read_toml(target.read_bytes())[0] if target.exists() else ""
            changed = change(text)
            if changed == text:
                return
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
            write_atomically(target, changed.encode(), mode=mode)
        except OSError as error:
            raise SettingsError(
                f"{target}: {error.strerror or error}; {what} was not saved.",
                hint="It counts until the program ends.",
            ) from error
        except ValueError as error:
            raise SettingsError(f"{target}: {error}; {what} was not saved.", hint=hint) from error
