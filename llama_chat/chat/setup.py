"""What the chat is started with: plain data and a few functions, put together by the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.paths import Paths
from llama_chat.settings import Settings, SettingValue

if TYPE_CHECKING:
    from llama_chat.chat.looking import ReaderOpener
    from llama_chat.chat.machine.devices import DeviceAccess
    from llama_chat.drawing.views import WalkOpener
    from llama_chat.events import EngineLoader
    from llama_chat.shelves.fit import ShortFit
    from llama_chat.shelves.to_load import ModelToLoad, Puller


@dataclass(frozen=True, slots=True)
class ChatSetup:
    """All that the chat needs to know from outside."""

    settings: Settings
    notices: tuple[str, ...]
    """Shown in the chat at its start: settings that were not taken, and the like."""
    paths: Paths
    loader: EngineLoader
    model_label: str
    """Shown until the engine knows better."""
    pull: Puller | None
    """None: the model's file is at hand. Otherwise called before the loader, under the download screen."""
    save_setting: Callable[[str, str, SettingValue], None]
    """`(table, key, value)`; writes to a disk, so never called on the thread of the screen."""
    resume: str | None = None
    """Id of a session to open, or a prefix that fits one only."""
    continue_last: bool = False
    open_model: Callable[[str], ModelToLoad] | None = None
    """From what `--model` takes to what loads it; raises `ModelError`. None: no other model can be loaded."""
    fit_of: Callable[[Path, int], ShortFit | None] | None = None
    """How the model at a path fits the device, with so many bytes free besides; None where nobody knows.

    Reads its headers: not for the thread of the screen.
    """
    devices: DeviceAccess | None = None
    """What may be asked of the machine's devices; None: nothing."""
    open_walk: WalkOpener | None = None
    """How a walk is opened, on the thread of the engine; None: nothing can be looked into."""
    open_attention: ReaderOpener | None = None
    """How attention is read, on the thread of the engine; None: nothing can be looked into."""
    is_first_run: bool = False
    """Whether whoever starts it is new here: then a model is chosen before any is fetched."""
