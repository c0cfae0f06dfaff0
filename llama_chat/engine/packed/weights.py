"""Builders of modules that take them from the shelf, or remember what they built for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

from torch import nn

from llama_chat.engine.files.checkpoint import PLAIN_TYPES, Checkpoint, dominant_type
from llama_chat.engine.model import RMSNorm
from llama_chat.engine.packed.early import FOLDER
from llama_chat.engine.packed.file import PackedTensors
from llama_chat.engine.packed.shelf import PackedShelf, kept_name
from llama_chat.engine.packed.tree import Describer, NotPlainError, restore
from llama_chat.engine.precision import Precision
from llama_chat.engine.weights import WeightBuilder

_MOST_TIMES_THE_FILE = 4
"""A model that is kept so much larger than its file is read and unpacked sooner than it is read."""

PAUSE_S = 5.0
"""What is built is written so much later, or when the network is closed."""

_log = logging.getLogger(__name__)


class KeptWeights(WeightBuilder):
    """Gives the modules that a kept file describes."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision, kept: PackedTensors) -> None:
        super().__init__(checkpoint, precision)
        modules = restore(kept.about["modules"], kept.tensors)
        self._modules: dict[str, nn.Module] = {
            name: modules[number] for name, number in kept.about["names"].items()
        }

    def load_norm(self, name: str, eps: float) -> RMSNorm:  # noqa: ARG002  (as it was built)
        """The norm of that name."""
        return cast(RMSNorm, self._modules[name])

    def load_linear(self, *names: str) -> nn.Module:
        """The product of those rows."""
        return self._modules[_joined(names)]

    def load_embedding(self, name: str = "token_embd.weight") -> nn.Module:
        """The token table."""
        return self._modules[f"embedding {name}"]

    def load_head(self, name: str, embedding: nn.Module) -> nn.Module:  # noqa: ARG002  (it is in there)
        """The output product."""
        return self._modules[f"head {name}"]


class Keeping:
    """A write on a thread of its own, which gives the first reply the processor for itself.

    Args:
        write: what is to be done.
        pause_s: how much later, unless `finish` is called before.
    """

    def __init__(self, write: Callable[[], object], pause_s: float) -> None:
        self._write, self._pause_s = write, pause_s
        self._is_wanted_now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llama-chat keeping weights", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._is_wanted_now.wait(self._pause_s)
        self._write()

    def finish(self) -> None:
        """Come back when it is written."""
        self._is_wanted_now.set()
        self._thread.join()


class RememberingWeights(WeightBuilder):
    """Builds, and remembers what it built, to be kept once all is there."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision, shelf: PackedShelf, name: str) -> None:
        super().__init__(checkpoint, precision)
        self._shelf, self._name = shelf, name
        self._built: dict[str, nn.Module] = {}

    def load_norm(self, name: str, eps: float) -> RMSNorm:
        """As `WeightBuilder` builds it."""
        built = super().load_norm(name, eps)
        self._built[name] = built
        return built

    def load_linear(self, *names: str) -> nn.Module:
        """As `WeightBuilder` builds it."""
        built = self._built[_joined(names)] = super().load_linear(*names)
        return built

    def load_embedding(self, name: str = "token_embd.weight") -> nn.Module:
        """As `WeightBuilder` builds it."""
        built = self._built[f"embedding {name}"] = super().load_embedding(name)
        return built

    def load_head(self, name: str, embedding: nn.Module) -> nn.Module:
        """As `WeightBuilder` builds it."""
        built = self._built[f"head {name}"] = super().load_head(name, embedding)
        return built

    def keep(self, pause_s: float = PAUSE_S) -> Keeping | None:
        """Begin to write what was built; None where it cannot be kept."""
        describer = Describer()
        try:
            names = {name: describer.add(module) for name, module in self._built.items()}
        except NotPlainError as error:
            _log.warning("built weights are not kept: %s", error)
            return None
        finally:
            self._built = {}
        tensors = describer.tensors
        file_bytes = sum(stored.nbytes for stored in self.checkpoint.tensors.values())
        if sum(tensor.nbytes for tensor in tensors.values()) > _MOST_TIMES_THE_FILE * file_bytes:
            return None
        about = {"names": names, "modules": describer.modules}
        return Keeping(lambda: self._shelf.keep(self._name, about, tensors), pause_s)


def _joined(names: tuple[str, ...]) -> str:
    return " + ".join(names)


def weight_builder(checkpoint: Checkpoint, precision: Precision, cache_folder: Path | None) -> WeightBuilder:
    """Kept weights where there are any, else a builder whose work can be kept, else a plain one."""
    if cache_folder is None or not is_worth_keeping(checkpoint, precision):
        return WeightBuilder(checkpoint, precision)
    shelf = PackedShelf(cache_folder / FOLDER)
    try:
        name = kept_name(checkpoint.fingerprint(), precision)
    except OSError as error:
        _log.warning("kept weights are not looked for: %s", error)
        return WeightBuilder(checkpoint, precision)
    kept = shelf.find(name)
    if kept is not None:
        try:
            return KeptWeights(checkpoint, precision, kept)
        except (NotPlainError, KeyError, TypeError, IndexError, AttributeError) as error:
            _log.warning("kept weights are built anew: %r", error)
            shelf.drop(name)
    return RememberingWeights(checkpoint, precision, shelf, name)


def is_worth_keeping(checkpoint: Checkpoint, precision: Precision) -> bool:
    """Whether building costs more than reading what was built: on the processor, where bits are repacked.

    Plain values are copied as they are, or rounded, which takes no longer than reading a second file.
    """
    if precision.device.type != "cpu":
        return False
    return precision.kind in ("int4", "int8") or dominant_type(checkpoint.tensors.values()) not in PLAIN_TYPES


def keep_built(weights: WeightBuilder) -> Keeping | None:
    """Have what it built written in the background, where it is to be kept. Call it when all is built."""
    return weights.keep() if isinstance(weights, RememberingWeights) else None
