"""The path of a model that is being typed: whether it is one, and how it may go on."""

from __future__ import annotations

import os

from llama_chat.chat.prompt.typed_path import entries_of

_STARTS = ("/", "~", "./", "../")
_ENDINGS = (".gguf", ".safetensors", ".pth")


def is_path(text: str) -> bool:
    """Whether the text is meant as a path, not as words to look for."""
    return text.startswith(_STARTS) or text == ".." or (os.name == "nt" and text[1:3] in (":\\", ":/"))


def path_completions(text: str) -> list[str]:
    """The folders and weight files that the typed path may go on to, folders with `/` behind them.

    Asks the disk.
    """
    found = entries_of(text)
    return [entry.path for entry in found if entry.is_folder or entry.name.lower().endswith(_ENDINGS)]
