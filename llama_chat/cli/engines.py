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
        from llama_chat.cli.tables import cut, pictured_line

        percent = f" {int(100 * loading.fraction)} %" if loading.what == "weights" else ""
        cells = shutil.get_terminal_size().columns - 1
        self._draw(cut(pictured_line(f"{self._verb} {self._name}…{percent}"), cells))

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
