"""A path that is being typed: what it stands for, and how it may go on."""

from __future__ import annotations

import os
from pathlib import Path

_STARTS = ("/", "~", "./", "../")
_ENDINGS = (".gguf", ".safetensors", ".pth")
_MOST_ENTRIES = 2000


def is_path(text: str) -> bool:
    """Whether the text is meant as a path, not as words to look for."""
    return text.startswith(_STARTS) or text == ".." or (os.name == "nt" and text[1:3] in (":\\", ":/"))


def path_completions(text: str) -> list[str]:
    """The folders and weight files that the typed path may go on to, folders with `/` behind them."""
    folder_text, name = os.path.split(text)
    if text == "~":
        return ["~/"]
    folder = Path(folder_text or ".").expanduser()
    wanted, found = name.casefold(), []
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_ENTRIES:
                    break
                if entry.name.startswith(".") and not name.startswith("."):
                    continue
                if entry.name.casefold().startswith(wanted) and (is_folder := _is_folder(entry)) is not None:
                    found.append(str(Path(folder_text, entry.name)) + ("/" if is_folder else ""))
    except (OSError, RuntimeError, ValueError):
        return []
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """None: neither a folder nor weights."""
    try:
        if entry.is_dir():
            return True
    except OSError:
        return None
    return False if entry.name.lower().endswith(_ENDINGS) else None
