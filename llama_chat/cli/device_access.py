"""What the chat may ask of the machine's devices: torch is imported by whoever asks first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.chat.machine.devices import DeviceAccess, DevicesFound
from llama_chat.cli.other_models import ModelOpener
from llama_chat.settings import ModelSettings

if TYPE_CHECKING:
    from llama_chat.shelves.fit import ShortFit


def device_access(opener: ModelOpener) -> DeviceAccess:
    """The functions, with the model options as the opener has them at the time."""

    def fit(path: Path, device: str, freed_bytes: int) -> ShortFit | None:
        from llama_chat.engine.quick_fit import quick_fit

        return quick_fit(path, replace(opener.settings, device=device), freed_bytes=freed_bytes)

    def fit_offers(device: str) -> Mapping[str, ShortFit]:
        return _fit_offers(replace(opener.settings, device=device))

    return DeviceAccess(find_devices, fit, fit_offers, opener.open_on)


def find_devices() -> DevicesFound:
    """What `llama-chat devices` says."""
    from llama_chat.engine.preload import mapping_torch

    with mapping_torch():
        pass  # while the libraries are read from the disk, the screen keeps the interpreter
    from llama_chat.engine.device_report import advice, list_devices
    from llama_chat.engine.devices import torch_build

    devices = tuple(list_devices())
    return DevicesFound(torch_build(), devices, tuple(advice()))


def _fit_offers(settings: ModelSettings) -> Mapping[str, ShortFit]:
    from llama_chat.engine.offer_fit import fit_offer
    from llama_chat.shelves.offers import OFFERS

    return {offer.name: fit_offer(offer, settings) for offer in OFFERS}
