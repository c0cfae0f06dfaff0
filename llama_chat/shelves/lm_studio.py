"""LM Studio's models on this disk: `models/<publisher>/<model>/<file>.gguf`, and folders as on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llama_chat.shelves.below import Below, models_below

PREFIX = "lmstudio/"
"""How such a model is named after --model: `lmstudio/publisher/model`."""

_POINTER = "~/.lmstudio-home-pointer"
_HOMES = ("~/.lmstudio", "~/.cache/lm-studio")


def folders() -> list[Path]:
    """Where LM Studio keeps its models: below the home that its pointer names, and below the usual ones."""
    homes = [Path(home).expanduser() for home in _HOMES]
    try:
        pointed = Path(_POINTER).expanduser().read_text(encoding="utf-8")[:4096].strip()
    except (OSError, ValueError):
        pointed = ""
    places = [Path(pointed), *homes] if pointed else homes
    return list(dict.fromkeys(place / "models" for place in places))


def list_lm_studio() -> list[Below]:
    """Every model of LM Studio's, named as after --model, by name."""
    found: dict[str, Below] = {}
    for folder in folders():
        for model in _models_in(folder):
            found.setdefault(model.name, model)
    return [found[name] for name in sorted(found)]


def find_lm_studio(name: str) -> Below | None:
    """The model that `lmstudio/publisher/model` stands for, with its ending or without."""
    if not name.startswith(PREFIX):
        return None
    wanted = name.lower()
    return next(
        (model for model in list_lm_studio() if model.name.lower() in (wanted, f"{wanted}.gguf")), None
    )


def _models_in(folder: Path) -> Iterator[Below]:
    if folder.is_dir():
        yield from (replace(model, name=PREFIX + model.name) for model in models_below(folder))
