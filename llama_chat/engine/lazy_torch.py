"""`import torch` without the half of it that only compilers and fake tensors need, until they need it.

`torch._meta_registrations` says in Python which shape every operation gives. It imports the decompositions,
the references and the primitives, and looks at the source of each: of 1.83 s of processor time that
`import torch` took, 0.75 went there (torch 2.13.0, 2 busy cores, 2026-11-22). What computes with numbers
never asks it. So the module stands there empty until somebody asks for something in it, or imports what
relies on it.

Only for versions of torch that this was tried with; under any other, `import torch` does what it always does.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

TRIED = ("2.13.",)
"""How the versions begin that this was tried with (`tests/test_lazy_torch.py`)."""

LATER = "torch._meta_registrations"
RELYING = frozenset(
    {
        "torch._decomp", "torch._dynamo", "torch._inductor", "torch._prims", "torch._refs",
        "torch.testing",
    }
)  # fmt: skip
"""What is only right with those registrations; whoever imports it has them first."""
RELYING_PACKAGES = ("transformers", "accelerate")
"""The same, with all that is in them: one may be imported while torch is, on another thread."""

_lock = threading.RLock()


class _Later(ModuleType):
    """A module whose code runs when something in it is asked for."""

    def __getattr__(self, name: str) -> Any:
        # `inspect` asks every module for its __file__; that must not count.
        if name.startswith("__"):
            raise AttributeError(name)
        run_now(self)
        return getattr(self, name)


def run_now(module: ModuleType | None = None) -> None:
    """Run the code of the module that was put off, if there is one that was not run."""
    module = module or sys.modules.get(LATER)
    with _lock:
        if not isinstance(module, _Later) or module.__spec__ is None:
            return
        object.__setattr__(module, "__class__", ModuleType)
        loader = module.__spec__.loader
        assert isinstance(loader, _LaterLoader)
        loader.real.exec_module(module)


class _LaterLoader(importlib.abc.Loader):
    """Makes the module and leaves it empty."""

    def __init__(self, real: importlib.abc.Loader) -> None:
        self.real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _ThereLoader(importlib.abc.Loader):
    """Gives a module that is there already, as it is, once; then its own loader stands in its spec again."""

    def __init__(self, there: ModuleType, real: importlib.abc.Loader | None) -> None:
        self._there, self._real = there, real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:  # noqa: ARG002  (importlib's)
        return self._there

    def exec_module(self, module: ModuleType) -> None:
        """Nothing more."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._real


class _Finder(importlib.abc.MetaPathFinder):
    """Puts one module off, and has it run before others that rely on it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in RELYING or fullname.partition(".")[0] in RELYING_PACKAGES:
            run_now()
            there = sys.modules.get(fullname)
            if there is not None and there.__spec__ is not None:  # what was run now has imported it
                there.__spec__.loader = _ThereLoader(there, there.__spec__.loader)
                return there.__spec__
        if fullname != LATER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LaterLoader(spec.loader)
        return spec


def import_torch() -> None:
    """Have torch in memory, the soonest way."""
    if "torch" in sys.modules:
        return
    if torch_version().startswith(TRIED) and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    with no_collections():
        import torch  # noqa: F401


@contextmanager
def no_collections() -> Iterator[None]:
    """No search for circles of garbage, of which an import makes few: 0.1 to 0.2 s of torch's."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def torch_version() -> str:
    """Of the torch that would be imported, by its own file; empty where there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    try:
        said = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    found = re.search(r"__version__ = '([^']+)'", said)
    return found[1] if found else ""
