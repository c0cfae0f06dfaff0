"""The names that other programs' models have after --model, and back from a path to such a name."""

from __future__ import annotations

from pathlib import Path

from llama_chat.errors import ModelError
from llama_chat.shelves.lm_studio import find_lm_studio
from llama_chat.shelves.ollama import find_ollama


def find_by_name(name: str) -> Path | None:
    """The path that `ollama/llama3.2:1b` or `lmstudio/publisher/model` stands for; None for other names.

    Raises:
        ModelError: there is such a model, and it cannot be loaded.
    """
    found = find_ollama(name) or find_lm_studio(name)
    if found is None:
        return None
    if found.path is None or found.problem:
        raise ModelError(f"{name}: {found.problem}.", hint="Pull it again with the program that fetched it.")
    return found.path
