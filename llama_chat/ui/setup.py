"""What the chat is started with: plain data and a few functions, put together by the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from llama_chat.events import EngineLoader
from llama_chat.paths import Paths
from llama_chat.settings import Settings, SettingValue

if TYPE_CHECKING:
    from llama_chat.pull import PullProgress

Puller: TypeAlias = "Callable[[Callable[[PullProgress], None], threading.Event], object]"
"""Fetches the model's file: gets a callback for progress and a cancel flag."""


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
