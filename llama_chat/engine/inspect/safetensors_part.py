"""Safetensors files as a part of a listing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llama_chat.engine.files.safetensors import SafetensorsFile
from llama_chat.engine.inspect.listing import Part, Slices, TensorRow
from llama_chat.engine.inspect.names import gguf_name
from llama_chat.engine.inspect.raw_values import plain_block, read_slices
from llama_chat.engine.inspect.totals import totals_of
from llama_chat.errors import ModelError


def read_safetensors_part(paths: Sequence[Path], file_count: int = 1) -> Part:
    """The tensors of one file, or of the files that a model is split over; the metadata is the first one's.

    Args:
        paths: of the files.
        file_count: as many as the whole model has.

    Raises:
        ModelError: a file cannot be read or its header does not fit it.
    """
    files = {path.name: SafetensorsFile(path, lists_unknown=True) for path in paths}

    def slices(row: TensorRow) -> Slices:
        info = files[row.file].tensors[row.name]
        block = plain_block(info.dtype)
        if block is None:
            raise ModelError(f"{row.name} is stored as {row.type_name}, which cannot be unpacked")
        return read_slices(files[row.file].path, info.offset, info.nbytes, block)

    rows = tuple(
        TensorRow(info.name, gguf_name(info.name), info.shape, info.dtype, info.nbytes, name)
        for name, file in files.items()
        for info in file.tensors.values()
    )
    metadata = files[paths[0].name].metadata
    totals = totals_of(rows, is_whole=len(paths) >= file_count)
    return Part("safetensors", tuple(paths), rows, metadata, totals, slices, file_count)
