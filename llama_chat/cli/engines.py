"""From the settings to a loaded engine, for commands that print."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from llama_chat.errors import ModelError
from llama_chat.events import Engine, EngineLoader, Loading
from llama_chat.model_names import find_model
from llama_chat.paths import Paths, user_paths
from llama_chat.settings import ModelSettings, Settings


def engine_loader(
    path: Path | Callable[[], Path], settings: ModelSettings, *, compiles: bool = False
) -> EngineLoader:
    """Loads the model at the path; torch is imported when it is called, on the thread that calls it.

    Args:
        path: a function is asked for it then: where a fetch puts the model is known when it is done.
        settings: how it is to run.
        compiles: whether the program stays long enough for a decode step to be compiled in the background.
    """

    def load(report: Callable[[Loading], None], cancel: threading.Event) -> Engine:
        report(Loading(0.0, "torch"))
        from llama_chat.engine.lazy_torch import import_torch, no_collections
        from llama_chat.engine.packed.early import read_kept_weights
        from llama_chat.engine.preload import mapping_torch

        kept_in = cache_folder(settings)
        with mapping_torch(), no_collections():
            from llama_chat.engine.choose import read_model

            model = read_model(path if isinstance(path, Path) else path(), settings.engine)
        read_kept_weights(model, kept_in)
        import_torch()  # 1 to 2 s (2026-11)
        from llama_chat.engine.load import build_engine

        engine = build_engine(model, settings, report, cancel, kept_in)
        if compiles:
            engine.build_step()
        return engine

    return load


def cache_folder(settings: ModelSettings) -> Path | None:
    """Where what is made of a model is kept; None where the settings have it that nothing is."""
    return user_paths().cache if settings.cache == "auto" else None


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

    A terminal at stderr shows meanwhile how far it is.

    Raises:
        LlamaChatError: there is no such model or device, or it cannot be fetched or read.
    """
    path = find_or_fetch(settings, paths, cancel)
    from llama_chat.engine.files.checkpoint import model_name

    with LoadingLine(model_name(path.absolute()), sys.stderr) as line:
        return engine_loader(path, settings.model)(line, cancel)


class LoadingLine:
    """One line that tells how far a model is loaded, drawn again and again; gone without a trace at the end.

    Args:
        name: of the model.
        stream: where it is told; nothing is, unless it is a terminal. None: stderr is closed.
        verb: what is done with it.
    """

    def __init__(self, name: str, stream: TextIO | None, verb: str = "Loading") -> None:
        self._name, self._stream, self._verb = name, stream, verb
        self._is_terminal = stream is not None and stream.isatty()
        self._shown = ""

    def __enter__(self) -> LoadingLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def __call__(self, loading: Loading) -> None:
        """Show how far it is; before the weights come, that it has begun."""
        if not self._is_terminal:
            return
        percent = f" {int(100 * loading.fraction)} %" if loading.what == "weights" else ""
        self.show(f"{self._verb} {self._name}…{percent}")

    def show(self, text: str) -> None:
        """Show these words instead, whatever is in them, in one line."""
        if self._is_terminal:
            from llama_chat.cli.tables import cut, pictured_line

            self._draw(cut(pictured_line(text), shutil.get_terminal_size().columns - 1))

    def _draw(self, text: str) -> None:
        """Put the text in the place of what is shown."""
        if text == self._shown or self._stream is None:
            return
        from llama_chat.cli.tables import cells_of

        try:
            self._stream.write(f"\r{' ' * cells_of(self._shown)}\r{text}")
            self._stream.flush()
        except (OSError, ValueError):  # nobody looks any more: the loading goes on
            self._is_terminal = False
        self._shown = text


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
