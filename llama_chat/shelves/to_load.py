"""A model that was chosen, and the functions that bring it here: from the command line to the worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from llama_chat.events import EngineLoader
    from llama_chat.pull import PullProgress

Puller: TypeAlias = "Callable[[Callable[[PullProgress], None], threading.Event], object]"
"""Fetches the model's file: gets a callback for progress and a cancel flag."""


@dataclass(frozen=True, slots=True)
class ModelToLoad:
    """What the worker does to run another model."""

    label: str
    """Shown until the engine knows better."""
    loader: EngineLoader
    pull: Puller | None = None
    """None: its file is at hand."""
    check: Callable[[], object] = lambda: None
    """Reads the headers while the model that runs is still there; raises `ModelError` for what cannot run."""
