"""From the settings to a loaded engine, for commands that print."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llama_chat.catalogue import CatalogueEntry, find_model
from llama_chat.events import Engine, EngineLoader, Loading
from llama_chat.paths import Paths
from llama_chat.settings import ModelSettings, Settings


def engine_loader(path: Path, settings: ModelSettings) -> EngineLoader:
    """Loads the model at the path; torch is imported when it is called, on the thread that calls it."""

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> Engine:
        report(Loading(0.0, "torch"))
        from llama_chat.engine.preload import mapping_torch

        with mapping_torch():
            from llama_chat.engine.model_file import read_model_file

            model = read_model_file(path)
        from llama_chat.engine.load import build_engine  # torch: 1 to 2 s (2026-11)

        return build_engine(model, settings, report, cancel)

    return load


def load_for_command(settings: Settings, paths: Paths, cancel: threading.Event) -> Engine:
    """The engine that the settings name, after fetching the model if it is not at hand.

    Raises:
        LlamaChatError: there is no such model or device, or it cannot be fetched or read.
    """
    found = find_model(settings.model.model, paths.models)
    if isinstance(found, CatalogueEntry):
        from llama_chat.cli.pull_bar import pull_with_bar

        found = pull_with_bar(found, paths.models, cancel)
    return engine_loader(found, settings.model)(lambda _: None, cancel)
