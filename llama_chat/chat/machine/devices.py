"""The devices of this machine as plain data, and what the chat may ask of them.

What is asked is handed in by the command line: torch, which knows, takes a second or more to import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from llama_chat.device_facts import DeviceFacts
    from llama_chat.shelves.fit import ShortFit
    from llama_chat.shelves.to_load import ModelToLoad

AUTO = "auto"
DEVICE_WORDS = "auto|cpu|cuda[:N]|rocm[:N]|xpu[:N]|mps"
_NAMES = re.compile(r"auto|cpu|mps|(?:cuda|rocm|xpu)(?::\d{1,3})?")


@dataclass(frozen=True, slots=True)
class DevicesFound:
    """What torch sees of the machine, as `llama-chat devices` says it."""

    torch: str
    devices: tuple[DeviceFacts, ...]
    """The one that `auto` takes first."""
    missing: tuple[str, ...] = ()
    """A line for each card that is there and not used: why, and what to do."""

    @property
    def best(self) -> DeviceFacts | None:
        """The one that a model would run on."""
        return next((device for device in self.devices if not device.problem), None)


@dataclass(frozen=True, slots=True)
class DeviceAccess:
    """Functions that may take seconds: never called on the thread of the screen."""

    find: Callable[[], DevicesFound]
    fit: Callable[[Path, str, int], ShortFit | None]
    """How the model at a path fits a device, with so many bytes free besides; None where nobody knows."""
    fit_offers: Callable[[str], Mapping[str, ShortFit]]
    """How the models of `offers` would fit a device, by name."""
    open_model: Callable[[str, str], ModelToLoad]
    """What runs a model (as `--model` takes it) on a device; once it does, later models go there, too.

    Raises `DeviceError` where there is no such device, `ModelError` where there is no such model.
    """


def parse_device(words: str) -> str:
    """The device that is meant.

    Raises:
        UsageError: no device has such a name.
    """
    name = words.strip().lower()
    if _NAMES.fullmatch(name) is None:
        raise UsageError(f"There is no device {words.strip()!r}.", hint=f"/device {DEVICE_WORDS}")
    return name


def is_same(asked: str, running: str) -> bool:
    """Whether a name as it is typed means the device that a model runs on: `cuda` is `cuda:0`."""
    return asked in (running, running.removesuffix(":0"))
