"""Files of torch.save as a part of a listing: the one format that cannot be listed without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.files.pth import PthFile, forget_tensor
from llama_chat.engine.inspect.listing import SLICE_VALUES, Part, Slices, TensorRow
from llama_chat.engine.inspect.names import gguf_name
from llama_chat.engine.inspect.totals import totals_of
from llama_chat.errors import ModelError

if TYPE_CHECKING:
    import torch

_LETTERS = {"float": "F", "bfloat": "BF", "int": "I", "uint": "U", "complex": "C"}


def read_pth_part(paths: Sequence[Path]) -> Part:
    """The tensors of one file, or of the shards of a model.

    Raises:
        ModelError: a file cannot be read, or carries code.
    """
    files = {path.name: PthFile(path) for path in paths}
    rows = tuple(
        TensorRow(
            name, gguf_name(name), tuple(tensor.shape), type_name(tensor.dtype), tensor.nbytes, file_name
        )
        for file_name, file in files.items()
        for name, tensor in file.tensors.items()
    )
    totals = totals_of(rows, is_replicated=len(paths) > 1)
    return Part("PyTorch", tuple(paths), rows, {}, totals, lambda row: _slices(files[row.file], row))


def type_name(dtype: torch.dtype) -> str:
    """The name that torch has for it as the other formats write it: `BF16`, `F8_E4M3`, `BOOL`."""
    name = str(dtype).removeprefix("torch.")
    match = re.fullmatch(r"([a-z]+)(\d+)(_e\d+m\d+)?(.*)", name)
    if match is None or match[1] not in _LETTERS:
        return name.upper()
    return f"{_LETTERS[match[1]]}{match[2]}{(match[3] or '').upper()}"


def _slices(file: PthFile, row: TensorRow) -> Slices:
    import torch

    tensor = file.tensors[row.name]
    if tensor.dtype.is_complex:
        raise ModelError(f"{row.name} is stored as {row.type_name}, which cannot be unpacked")
    # Values that do not lie in a row, as a transposed view has them, are copied; real checkpoints have none.
    flat = tensor.reshape(-1)
    is_mapped = flat.data_ptr() == tensor.data_ptr()
    for start in range(0, flat.numel(), SLICE_VALUES):
        part = flat[start : start + SLICE_VALUES]
        yield part.to(torch.float64, copy=True).numpy()
        if is_mapped:
            forget_tensor(part)
