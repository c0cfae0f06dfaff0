"""GGUF files as a part of a listing, tensors of unknown types among them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.inspect.listing import Part, Slices, TensorRow
from llama_chat.engine.inspect.raw_values import gguf_block, read_slices
from llama_chat.engine.inspect.totals import totals_of
from llama_chat.errors import ModelError


def read_gguf_part(paths: Sequence[Path], file_count: int = 1) -> Part:
    """The tensors of a model in GGUF, in one file or split over several; the metadata is the first one's.

    Args:
        paths: of the files.
        file_count: as many as the whole model has.

    Raises:
        ModelError: a file cannot be read or its header does not fit it.
    """
    files = [GGUFFile(path, lists_unknown=True) for path in paths]
    infos = {(file.path.name, name): (file, info) for file in files for name, info in file.tensors.items()}

    def slices(row: TensorRow) -> Slices:
        file, info = infos.get((row.file, row.name), (None, None))
        block = gguf_block(info.type) if info else None
        if file is None or info is None or block is None:
            raise ModelError(f"{row.name} is stored as {row.type_name}, which cannot be unpacked")
        return read_slices(file.path, info.offset, info.nbytes, block)

    rows = [row for file in files for row in _rows(file)]
    metadata = files[0].metadata
    totals = totals_of(rows, sizes=metadata, is_whole=len(paths) >= file_count)
    return Part("GGUF", tuple(paths), tuple(rows), metadata, totals, slices, file_count)


def _rows(file: GGUFFile) -> Iterator[TensorRow]:
    """The tensors as they lie in the file."""
    starts = sorted([info.offset for info in file.tensors.values()] + [new.offset for new in file.unknown])
    size = file.path.stat().st_size
    known = [
        (
            info.offset,
            TensorRow(info.name, info.name, info.shape, info.type_name, info.nbytes, file.path.name),
        )
        for info in file.tensors.values()
    ]
    for tensor in file.unknown:
        at = bisect_right(starts, tensor.offset)
        nbytes = max(0, (starts[at] if at < len(starts) else size) - tensor.offset)  # padding among them
        row = TensorRow(tensor.name, tensor.name, tensor.shape, f"type {tensor.code}", nbytes, file.path.name)
        known.append((tensor.offset, row))
    for _, row in sorted(known, key=lambda pair: pair[0]):
        yield row
