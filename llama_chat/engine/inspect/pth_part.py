"""Files of torch.save as a part of a listing: the one format that cannot be listed without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.files.checkpoint import OUTPUT_NORM
from llama_chat.engine.files.pth import PthFile, forget_tensor
from llama_chat.engine.inspect.listing import SLICE_VALUES, Part, Slices, TensorRow
from llama_chat.engine.inspect.names import gguf_name
from llama_chat.engine.inspect.totals import totals_of
from llama_chat.errors import ModelError, NotOursError
from llama_chat.part_names import MAX_SHARDS, shard_number

if TYPE_CHECKING:
    import torch

    from llama_chat.engine.files.meta import MetaCheckpoint

_LETTERS = {"float": "F", "bfloat": "BF", "int": "I", "uint": "U", "complex": "C"}


def read_pth_part(paths: Sequence[Path], file_count: int = 1) -> Part:
    """The tensors of one file, or of the shards of a model, as they lie there and put together.

    Args:
        paths: of the files.
        file_count: as many as the whole model has, by the names of the files. Those of Meta's shards do not
            say; then the shapes do.

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
    if shard_number(paths[0].name) is not None:
        file_count = max(file_count, _shard_count(rows))
    is_whole = len(paths) >= file_count
    totals = totals_of(rows, is_replicated=len(paths) > 1, is_whole=is_whole)

    def slices(row: TensorRow) -> Slices:
        return _slices(files[row.file], row)

    part = Part("PyTorch", tuple(paths), rows, {}, totals, slices, file_count)
    is_sharded = is_whole and len(paths) > 1 and shard_number(paths[0].name) is not None
    return _with_merged(part, list(files.values())) if is_sharded else part


def _shard_count(rows: Sequence[TensorRow]) -> int:
    """Shards of the whole model: the outputs of attention are cut by columns, the last norm is not cut."""
    norm = next((row.shape[0] for row in rows if row.gguf_name == OUTPUT_NORM and len(row.shape) == 1), 0)
    outputs = (row.shape for row in rows if row.gguf_name.endswith("attn_output.weight"))
    columns = next((shape[1] for shape in outputs if len(shape) == 2), 0)
    count = norm // columns if columns and norm % columns == 0 else 1
    return count if count <= MAX_SHARDS else 1


def _with_merged(part: Part, files: Sequence[PthFile]) -> Part:
    """The part with its tensors put together, as the engine would; or with the reason why they do not fit."""
    from llama_chat.engine.files.meta import MetaCheckpoint

    try:
        checkpoint = MetaCheckpoint(part.files[0].parent, files)
    except NotOursError:
        return part
    except ModelError as error:
        return replace(part, notices=(error.message,))
    merged = tuple(
        TensorRow(
            stored.source_name, name, stored.shape, stored.type_name, stored.nbytes, part.files[0].name,
            shares=len(files) if len(stored.shape) > 1 else 1,
        )
        for name, stored in checkpoint.tensors.items()
    )  # fmt: skip

    def slices(row: TensorRow) -> Slices:
        return part.slices(row) if row.shares == 1 else _merged_slices(checkpoint, row)

    return replace(part, merged=merged, slices=slices)


def _merged_slices(checkpoint: MetaCheckpoint, row: TensorRow) -> Slices:
    import torch

    at_once = max(1, SLICE_VALUES // max(1, row.shape[1]))
    for start in range(0, row.shape[0], at_once):
        yield checkpoint.values(row.gguf_name, start, start + at_once).to(torch.float64).reshape(-1).numpy()
    checkpoint.forget(row.gguf_name)


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
