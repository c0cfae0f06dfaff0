"""`/device` of the plain chat: the devices as a list, and the model on another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.chat.machine.devices import DevicesFound, is_same, parse_device
from llama_chat.cli.talk import say
from llama_chat.errors import UsageError
from llama_chat.sanitize import one_line, sanitize

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat


def run_on_device(plain: PlainChat, words: str) -> None:
    """Run the model on the device of that name; without one, list them.

    Raises:
        UsageError: no device has such a name.
        DeviceError: it is not there; says what to install.
    """
    access, info = plain.setup.devices, plain.chat.info
    if access is None:
        raise UsageError("No other device can be chosen here.")
    if not words:
        _list(plain, access.find())
        return
    device = parse_device(words)
    if info is not None and is_same(device, info.device):
        say(f"{one_line(info.name)} runs on {info.device} already.")
        return
    name = info.path if info is not None else plain.setup.settings.model.model
    plain.switch_to(access.open_model(name, device))


def _list(plain: PlainChat, found: DevicesFound) -> None:
    access, info = plain.setup.devices, plain.chat.info
    assert access is not None
    for device in found.devices:
        parts = [f"{device.name}: {sanitize(device.product)}, {device.memory_text}"]
        if device.fast:
            parts.append(f"fast: {' '.join(device.fast)}")
        if info is not None and device.name == info.device:
            parts.append(f"{one_line(info.name)} runs there")
        elif info is not None and not device.problem:
            fit = access.fit(Path(info.path), device.name, 0)
            parts += [f"{one_line(info.name)} {fit.verdict}"] if fit is not None else []
        say("; ".join([*parts, sanitize(device.problem)] if device.problem else parts) + ".")
    for line in found.missing:
        say(sanitize(line))
    say("/device NAME runs the model there; auto takes the best one.")
