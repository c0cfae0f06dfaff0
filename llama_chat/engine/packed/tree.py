"""Modules as plain data and named tensors, and back: classes, values, parameters, buffers, children."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_OWN = "llama_chat.engine."
_OF_TORCH = ("torch.nn.modules.linear", "torch.nn.modules.sparse")


class NotPlainError(Exception):
    """A module has something that is no plain data, or a description names what no description may."""


class Describer:
    """Gives modules names and describes them; what two of them share is described once.

    Attributes:
        tensors: by the name that their modules' descriptions call them.
        modules: the descriptions, in an order in which children come first.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.modules: list[dict[str, Any]] = []
        self._seen: dict[int, int] = {}
        self._name_of: dict[tuple[Any, ...], str] = {}

    def add(self, module: nn.Module) -> int:
        """The module's number.

        Raises:
            NotPlainError: it has a value that cannot be described.
        """
        if id(module) not in self._seen:
            children = {name: self.add(child) for name, child in module.named_children()}
            number = len(self.modules)
            self.modules.append(
                {
                    "class": _class_name(type(module)),
                    "values": {name: _plain(value) for name, value in _values_of(module).items()},
                    "parameters": self._named(number, module._parameters),
                    "buffers": self._named(number, module._buffers),
                    "children": children,
                }
            )
            self._seen[id(module)] = number
        return self._seen[id(module)]

    def _named(self, number: int, tensors: Mapping[str, Tensor | None]) -> dict[str, str | None]:
        return {
            name: None if tensor is None else self._name(f"{number}.{name}", tensor)
            for name, tensor in tensors.items()
        }

    def _name(self, name: str, tensor: Tensor) -> str:
        """The name of that tensor: the first that it got, where it lies in memory that another has, too."""
        if not tensor.is_contiguous():
            raise NotPlainError(f"{name} is not contiguous")
        place = tensor.data_ptr(), tensor.dtype, tuple(tensor.shape)
        if place not in self._name_of:
            self._name_of[place] = name
            self.tensors[name] = tensor.detach()
        return self._name_of[place]


def restore(described: list[dict[str, Any]], tensors: Mapping[str, Tensor]) -> list[nn.Module]:
    """The modules that were described, with these tensors.

    Raises:
        NotPlainError: a class that no description may name.
        KeyError: a tensor is missing.
    """
    made: list[nn.Module] = []
    for one in described:
        kind = _class_of(one["class"])
        module = kind.__new__(kind)
        nn.Module.__init__(module)
        for name, value in one["values"].items():
            setattr(module, name, _from_plain(value))
        for name, tensor in one["parameters"].items():
            module.register_parameter(
                name, None if tensor is None else nn.Parameter(tensors[tensor], requires_grad=False)
            )
        for name, tensor in one["buffers"].items():
            module.register_buffer(name, None if tensor is None else tensors[tensor])
        for name, number in one["children"].items():
            module.add_module(name, made[number])
        made.append(module)
    return made


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _values_of(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE}


def _plain(value: object) -> Any:
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise NotPlainError(f"a {type(value).__name__} cannot be kept")


def _from_plain(value: Any) -> Any:
    return getattr(torch, value["dtype"]) if isinstance(value, dict) else value


def _class_name(kind: type) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    _class_of(name)
    return name


def _class_of(name: str) -> type[nn.Module]:
    """The class of that name: one of the engine's modules, or torch's plain products and tables."""
    where, _, what = name.partition(":")
    if where.startswith(_OWN) or where in _OF_TORCH:
        kind = getattr(importlib.import_module(where), what, None)
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            return kind
    raise NotPlainError(f"{name} cannot be kept")
