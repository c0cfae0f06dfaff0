"""What the chat needs to run another model than the one that it began with: handed in as plain functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.cli.engines import cache_folder, fetched_path
from llama_chat.events import Engine, Loading
from llama_chat.model_names import Fetchable, find_model
from llama_chat.paths import Paths
from llama_chat.settings import ModelSettings
from llama_chat.shelves.to_load import ModelToLoad, Puller

if TYPE_CHECKING:
    import threading

    from llama_chat.engine.files.model import ModelFile
    from llama_chat.engine.hf.other_model import OtherModel
    from llama_chat.pull_progress import PullProgress
    from llama_chat.shelves.fit import ShortFit


class ModelOpener:
    """From what `--model` takes to what loads it, with the other model options as they are.

    Args:
        settings: of the first model.
        paths: the user's folders.
    """

    def __init__(self, settings: ModelSettings, paths: Paths) -> None:
        self.settings = settings
        """As the model runs that was loaded last; a switch to another device changes them."""
        self._paths = paths

    def open(self, name: str) -> ModelToLoad:
        """What loads the model, on the device where the others ran.

        Raises:
            ModelError: nothing fits the name.
        """
        return self._open(name, self.settings)

    def open_on(self, name: str, device: str) -> ModelToLoad:
        """What loads the model on this device; may take as long as torch does.

        Raises:
            ModelError: nothing fits the name.
            DeviceError: there is no such device.
        """
        from llama_chat.engine.devices import find_device

        find_device(device)  # says what is missing, and what to install for it
        return self._open(name, replace(self.settings, device=device))

    def _open(self, name: str, settings: ModelSettings) -> ModelToLoad:
        found = find_model(name, self._paths.models)
        if isinstance(found, Path):
            opened = _Opened(lambda: found, settings, self._note)
            return ModelToLoad(label_of(found), opened.load, check=opened.check)
        fetching = fetcher(found, self._paths.models)
        opened = _Opened(lambda: fetched_path(name, self._paths.models), settings, self._note)
        return ModelToLoad(found.title, opened.load, fetching, opened.check)

    def _note(self, settings: ModelSettings) -> None:
        """So a model was loaded: the next ones follow it."""
        self.settings = settings


def model_opener(settings: ModelSettings, paths: Paths) -> Callable[[str], ModelToLoad]:
    """From what `--model` takes to what loads it, with the other model options as they are.

    The function raises `ModelError` for a name that nothing fits.
    """
    return ModelOpener(settings, paths).open


def fetcher(model: Fetchable, models_folder: Path) -> Puller:
    """What brings the model here when it is called."""

    def pull(report: Callable[[PullProgress], None], cancel: threading.Event) -> object:
        from llama_chat.catalogue import fetch

        return fetch(model, models_folder, report, cancel)

    return pull


def label_of(path: Path) -> str:
    """The model's name before its file is opened."""
    if path.suffix == ".gguf" and path.is_file():  # neither the Hub's snapshots nor Ollama's blobs end so
        return path.stem
    from llama_chat.hub.names import snapshot_name
    from llama_chat.shelves.ollama import blob_name

    return snapshot_name(path) or blob_name(path) or (path.name if path.is_dir() else path.stem)


def fit_finder(settings: ModelSettings | ModelOpener) -> Callable[[Path, int], ShortFit | None]:
    """Tells whether the model at a path fits; None while torch is not there, which is not loaded for it.

    Args:
        settings: of the model; those of an opener are asked for each time.
    """

    def fit_of(path: Path, freed_bytes: int) -> ShortFit | None:
        if "torch" not in sys.modules:
            return None
        from llama_chat.engine.quick_fit import quick_fit

        now = settings.settings if isinstance(settings, ModelOpener) else settings
        return quick_fit(path, now, freed_bytes=freed_bytes)

    return fit_of


class _Opened:
    """A model on its way: its headers are read once, by `check`, and held until `load` takes them."""

    def __init__(
        self, path: Callable[[], Path], settings: ModelSettings, note: Callable[[ModelSettings], None]
    ) -> None:
        self._path = path
        self._settings = settings
        self._note = note
        self._model: ModelFile | OtherModel | None = None

    def check(self) -> None:
        """Read the headers.

        Raises:
            ModelError: no model there, or one that cannot run.
        """
        from llama_chat.engine.choose import read_model

        self._model = read_model(self._path(), self._settings.engine)

    def load(self, report: Callable[[Loading], None], cancel: threading.Event) -> Engine:
        """The engine; may be asked for again, when a model that came after it could not be loaded."""
        report(Loading(0.0, "torch"))
        if self._model is None:
            self.check()
        model, self._model = self._model, None  # its mapped files are to go with the engine
        assert model is not None
        from llama_chat.engine.load import build_engine

        engine = build_engine(
            model, _fitting(self._settings, model), report, cancel, cache_folder(self._settings)
        )
        engine.build_step()
        self._note(self._settings)
        return engine


def _fitting(settings: ModelSettings, model: ModelFile | OtherModel) -> ModelSettings:
    """Without a `--context` that was meant for a model with a longer one."""
    from llama_chat.engine.files.model import ModelFile

    if isinstance(model, ModelFile) and settings.context > model.config.context_length:
        return replace(settings, context=0)
    return settings
