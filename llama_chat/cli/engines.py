"""From the settings to a loaded engine, for commands that print."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llama_chat.catalogue import find_model
from llama_chat.errors import ModelError
from llama_chat.events import Engine, EngineLoader, Loading
from llama_chat.paths import Paths
from llama_chat.settings import ModelSettings, Settings


def engine_loader(path: Path | Callable[[], Path], settings: ModelSettings) -> EngineLoader:
    """Loads the model at the path; torch is imported when it is called, on the thread that calls it.

    A function is asked for the path then: where a fetch puts the model is known when it is done.
    """

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> Engine:
        report(Loading(0.0, "torch"))
        from llama_chat.engine.preload import mapping_torch

        with mapping_torch():
            from llama_chat.engine.choose import read_model

            model = read_model(path if isinstance(path, Path) else path(), settings.engine)
        from llama_chat.engine.load import build_engine  # torch: 1 to 2 s (2026-11)

        return build_engine(model, settings, report, cancel)

    return load


def fetched_path(model: str, models_folder: Path) -> Path:
    """Where the model is, after it was fetched.

    Raises:
        ModelError: it is not there.
    """
    found = find_model(model, models_folder)
    if not isinstance(found, Path):
        raise ModelError(f"{found.title} was not fetched.")
    return found


def load_for_command(settings: Settings, paths: Paths, cancel: threading.Event) -> Engine:
    """The engine that the settings name, after fetching the model if it is not at hand.

    Raises:
        LlamaChatError: there is no such model or device, or it cannot be fetched or read.
    """
    return engine_loader(find_or_fetch(settings, paths, cancel), settings.model)(lambda _: None, cancel)


def find_or_fetch(settings: Settings, paths: Paths, cancel: threading.Event | None = None) -> Path:
    """Where the model lies that the settings name, after fetching it if it is not at hand.

    Raises:
        LlamaChatError: there is no such model, or it cannot be fetched.
    """
    found = find_model(settings.model.model, paths.models)
    if isinstance(found, Path):
        return found
    from llama_chat.cli.pull_bar import pull_with_bar

    return pull_with_bar(found, paths.models, cancel)
