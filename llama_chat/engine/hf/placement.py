"""Where the parts of a transformers model go: on one device, or spread over several by accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from llama_chat.engine.devices import device_label, free_memory
from llama_chat.errors import DeviceError
from llama_chat.units import about_bytes

_USED_SHARE = 0.9
"""Of the free memory; the rest is for what a forward computes."""
_MODULES: Mapping[str, Any] = {"cuda": torch.cuda, "xpu": torch.xpu}


@dataclass(frozen=True, slots=True)
class Placement:
    """Which device every part is on."""

    device: torch.device
    """Where ids go in."""
    device_map: Mapping[str, torch.device]
    """By the names of modules; the empty one stands for the whole."""

    @property
    def is_spread(self) -> bool:
        """Whether the model is on more than one device."""
        return len(set(self.device_map.values())) > 1

    @property
    def label(self) -> str:
        """The devices by the names that a user knows: `rocm:0 + rocm:1`."""
        devices = list(dict.fromkeys(self.device_map.values()))
        return " + ".join(device_label(device) for device in devices)

    @property
    def accelerate_map(self) -> dict[str, torch.device | int | str]:
        """The same as accelerate writes it: one of several GPUs by its number."""
        if not self.is_spread:
            return dict(self.device_map)
        return {
            name: "cpu" if device.type == "cpu" else (device.index or 0)
            for name, device in self.device_map.items()
        }

    def device_of(self, name: str) -> torch.device:
        """The device of a parameter."""
        parts = name.split(".")
        for count in range(len(parts), -1, -1):
            if (device := self.device_map.get(".".join(parts[:count]))) is not None:
                return device
        return self.device


def on_one(device: torch.device) -> Placement:
    """Everything on that device."""
    return Placement(device, {"": device})


def free_places(device: torch.device, asked: str) -> dict[torch.device, int]:
    """Where a model may go, with the free bytes: the device, other GPUs like it, the processor.

    Args:
        device: where it goes if it fits.
        asked: `--device`; one with a number means that GPU and no other.
    """
    places = [device]
    if (module := _MODULES.get(device.type)) is not None:
        if ":" not in asked:
            places += [torch.device(device.type, n) for n in range(module.device_count())]
        places.append(torch.device("cpu"))
    found = {place: free_memory(place) for place in dict.fromkeys(places)}
    return {place: free for place, free in found.items() if free is not None}


def spread(skeleton: Any, dtype: torch.dtype, free_bytes: Mapping[torch.device, int]) -> Placement:
    """Layer after layer onto the devices in their order, as far as their free memory goes.

    Args:
        skeleton: the model, its weights without memory.
        dtype: of the weights.
        free_bytes: of the devices that may be used, the processor as the last.

    Raises:
        DeviceError: all of them together have not enough.
    """
    from accelerate import infer_auto_device_map

    names: dict[Any, torch.device] = {
        "cpu" if device.type == "cpu" else (device.index or 0): device for device in free_bytes
    }
    most: dict[Any, int] = {name: int(free_bytes[device] * _USED_SHARE) for name, device in names.items()}
    skeleton.tie_weights()
    found = infer_auto_device_map(
        skeleton,
        max_memory={**most, "cpu": most.get("cpu", 0)},
        no_split_module_classes=_whole_modules(skeleton),
        dtype=dtype,
    )
    if not set(found.values()) <= names.keys():  # "disk" is what is left over
        raise does_not_fit(weights_bytes_of(skeleton, dtype), free_bytes)
    device_map = {name: names[place] for name, place in found.items()}
    return Placement(next(iter(device_map.values())), device_map)


def does_not_fit(needed_bytes: int, free_bytes: Mapping[torch.device, int]) -> DeviceError:
    """The error for a model that fits nowhere, with numbers."""
    found = " and ".join(
        f"{about_bytes(free)} on {device_label(place)}" for place, free in free_bytes.items()
    )
    return DeviceError(
        f"This needs {about_bytes(needed_bytes)} in transformers; free are {found}.",
        hint="Take a smaller model, or a --dtype of fewer bits.",
    )


def cache_bytes_of(config: Any, context: int, dtype: torch.dtype) -> int | None:
    """Keys and values of so many tokens; None where the config does not name what they go by.

    Args:
        config: the library's own, of any family.
        context: tokens; layers with a window keep no more than the window.
        dtype: they are kept in.
    """
    text = config.get_text_config(decoder=True)
    layers, heads = _size(text, "num_hidden_layers"), _size(text, "num_attention_heads")
    head_dim = _size(text, "head_dim") or ((_size(text, "hidden_size") or 0) // heads if heads else None)
    kv_heads = _size(text, "num_key_value_heads") or heads
    if not (layers and kv_heads and head_dim):
        return None
    window, chunk = _size(text, "sliding_window"), _size(text, "attention_chunk_size")
    most = {
        "full_attention": context,
        "sliding_attention": min(window or context, context),
        "chunked_attention": min(chunk or context, context),
    }
    usual = "sliding_attention" if window else "chunked_attention" if chunk else "full_attention"
    types = getattr(text, "layer_types", None) or [usual] * layers
    tokens = sum(most.get(kind, 0) for kind in types)  # the other kinds keep a state instead
    return 2 * tokens * kv_heads * head_dim * dtype.itemsize


def _size(config: Any, name: str) -> int | None:
    """A positive number of that name; None where there is none, or one for each layer."""
    found = getattr(config, name, None)
    return found if type(found) is int and found > 0 else None


def _whole_modules(skeleton: Any) -> list[str]:
    """Classes of modules that stay on one device: layers, whose residual connections cannot be cut."""
    return sorted(getattr(skeleton, "_no_split_modules", None) or ())


def weights_bytes_of(model: Any, dtype: torch.dtype | None = None) -> int:
    """What the weights take; those that two modules share are counted once.

    Args:
        model: loaded, or a skeleton.
        dtype: that floating-point weights will be of; None takes what they are of.
    """
    seen = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(
        tensor.numel() * (dtype.itemsize if dtype and tensor.is_floating_point() else tensor.itemsize)
        for tensor in seen.values()
    )
