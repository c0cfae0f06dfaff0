"""Files of torch.save (`.pth`): tensors mapped from the disk, and no code run.

`torch.load` with `weights_only` is what keeps code from running. Before it sees the file, the archive and the
pickle in it are looked through here, so that what is refused is refused with a clear line; after it, every
tensor must lie where the archive has its record.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator, Mapping
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.pages import forget_pages, map_file
from llama_chat.engine.files.zip_directory import MAGIC, Record, read_directory
from llama_chat.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# 405B has 1,138 tensors; each takes about 300 bytes of pickle.
MAX_PICKLE_BYTES = 1 << 25
MAX_DEPTH = 8

_SAVE_AGAIN = "Load it where you trust it and write it again with torch.save(state_dict, path)."
_NO_CODE = "Weights need none of that: take them from where you trust, as safetensors if you can."

# What a pickled state dict names: the makers of tensors, the types of their storages, plain containers.
_HARMLESS = re.compile(
    r"torch \w+Storage|torch\.storage UntypedStorage|torch (Size|device|(bfloat|float|u?int)\d+\w*|bool)"
    r"|torch\._utils _rebuild_(tensor(_v2|_v3)?|parameter(_with_state)?|sparse_tensor)"
    r"|torch\.serialization _get_layout|torch\.nn\.parameter Parameter"
    r"|collections (OrderedDict|defaultdict|Counter)|_codecs encode"
)


class PthFile:
    """A file of torch.save, its tensors by name; their values stay on the disk until they are looked at.

    Raises:
        ModelError: no such file, one of another kind or damaged, or one that carries code.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = map_file(path)
        if data[:4] != MAGIC:
            raise ModelError(
                f"{path.name}: not in the format of torch.save since 1.6 (it begins with {data[:4]!r}, "
                f"wanted {MAGIC!r}), so it is not opened",
                hint=_SAVE_AGAIN,
            )
        records = read_directory(data, path.name)
        self._root = _root(records, path.name)
        _check_pickle(data, records.get(f"{self._root}/data.pkl"), path.name)
        self._stored = _stored_records(data, records, self._root, path.name)
        self.tensors: Mapping[str, Tensor] = dict(_named_tensors(_load(path)))
        _check_places(self.tensors, self._stored, path.name)

    @property
    def header_bytes(self) -> int:
        """Up to the first tensor's data; the pickle lies there."""
        return min((record.offset for record in self._stored), default=0)

    @property
    def data_places(self) -> list[tuple[int, int]]:
        """Offset and length in bytes of every storage."""
        return [(record.offset, record.nbytes) for record in self._stored]


def _root(records: Mapping[str, Record], where: str) -> str:
    """The folder that everything in the archive lies in; torch reads it off the first record."""
    roots = {name.partition("/")[0] for name in records}
    if len(roots) != 1:
        raise ModelError(f"{where}: an archive, but not one that torch wrote", hint=DAMAGED)
    root = roots.pop()
    if f"{root}/constants.pkl" in records:
        raise ModelError(f"{where}: a TorchScript program, not weights; it is not opened", hint=_NO_CODE)
    return root


def _check_pickle(data: mmap, record: Record | None, where: str) -> None:
    """Look through the pickle, without running it, for anything but tensors.

    Raises:
        ModelError: naming the first thing that it calls.
    """
    if record is None:
        raise ModelError(f"{where}: an archive, but not one of torch.save (no data.pkl in it)", hint=DAMAGED)
    if record.nbytes > MAX_PICKLE_BYTES:
        raise ModelError(f"{where}: its pickle has {record.nbytes:,} bytes, far too many", hint=DAMAGED)
    try:
        for opcode, argument, _ in pickletools.genops(data[record.offset : record.offset + record.nbytes]):
            if opcode.name == "PROTO" and argument != 2:
                raise ModelError(f"{where}: pickled by protocol {argument}, wanted 2", hint=_SAVE_AGAIN)
            if opcode.name in ("GLOBAL", "INST") and not _HARMLESS.fullmatch(str(argument)):
                raise _unwanted(str(argument).replace(" ", "."), where)
    except (ValueError, IndexError, OverflowError, EOFError) as error:
        raise ModelError(f"{where}: its pickle is damaged: {shown(str(error))}", hint=DAMAGED) from error


def _unwanted(called: str, where: str) -> ModelError:
    if called.startswith("torch."):
        return ModelError(f"{where}: holds more than plain tensors ({shown(called)})", hint=_SAVE_AGAIN)
    what = f"carries code (it wants to call {shown(called)})"
    return ModelError(f"{where}: {what}, so it is not opened", hint=_NO_CODE)


def _stored_records(data: mmap, records: Mapping[str, Record], root: str, where: str) -> list[Record]:
    """The records of storages that have any bytes, in the order in which they lie.

    Raises:
        ModelError: they are written for big-endian machines.
    """
    order = records.get(f"{root}/byteorder")
    if order is not None and data[order.offset : order.offset + order.nbytes] != b"little":
        raise ModelError(f"{where}: is written for big-endian machines", hint=_SAVE_AGAIN)
    return [record for name, record in records.items() if name.startswith(f"{root}/data/") and record.nbytes]


def _load(path: Path) -> object:
    import torch

    try:
        return torch.load(str(path), map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # whatever a damaged pickle makes torch's reader stumble over
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(f"{path.name}: torch cannot read it: {shown(reason)}", hint=DAMAGED) from error


def _named_tensors(root: object) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested containers, by their keys joined with dots; what else is there is left out."""
    import torch

    waiting: list[tuple[str, int, object]] = [("", 0, root)]
    seen: set[int] = set()  # a pickle can put a container into itself
    while waiting:
        name, depth, found = waiting.pop()
        if isinstance(found, torch.Tensor):
            yield name, found.detach()
        elif isinstance(found, (dict, list, tuple)) and depth < MAX_DEPTH and id(found) not in seen:
            seen.add(id(found))
            items = list(found.items() if isinstance(found, dict) else enumerate(found))
            waiting += [
                (f"{name}.{key}" if name else str(key), depth + 1, value) for key, value in reversed(items)
            ]


def _check_places(tensors: Mapping[str, Tensor], stored: list[Record], where: str) -> None:
    """Hold the storages of the tensors against the records of the archive: as many, as large, as far apart.

    So no tensor reaches over its own record into another, and none lies outside the mapped file.

    Raises:
        ModelError: they do not fit.
    """
    import torch

    places: dict[int, int] = {}
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_neg():
            raise ModelError(f"{where}: {shown(name)} is no plain tensor", hint=_SAVE_AGAIN)
        storage = tensor.untyped_storage()
        if storage.nbytes():
            places[storage.data_ptr()] = storage.nbytes()
    found = sorted(places.items())
    if [nbytes for _, nbytes in found] != [record.nbytes for record in stored] or any(
        address - found[0][0] != record.offset - stored[0].offset
        for (address, _), record in zip(found, stored, strict=True)
    ):
        raise ModelError(f"{where}: the tensors do not lie where the archive has them", hint=DAMAGED)


def forget_tensor(tensor: Tensor) -> None:
    """Give back the memory that reading a tensor of such a file, or some rows of it, took."""
    if tensor.numel():
        span = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        forget_pages(tensor.data_ptr(), span * tensor.element_size())
