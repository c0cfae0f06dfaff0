"""Meta's own checkpoints: `consolidated.NN.pth`, one file or one for each rank that the model ran on.

Of a model that ran on several GPUs each file has a share of every matrix, cut by rows or by columns. The
shares are put together as they are read, a few thousand rows at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.files.checkpoint import (
    DAMAGED,
    EMBEDDING,
    OUTPUT,
    OUTPUT_NORM,
    Blocks,
    Format,
    Stored,
    shown,
)
from llama_chat.engine.files.gguf_model import hash_ends
from llama_chat.engine.files.pth import PthFile, forget_tensor
from llama_chat.errors import ModelError, NotOursError

if TYPE_CHECKING:
    from torch import Tensor

_OUTSIDE = {"tok_embeddings.weight": EMBEDDING, "norm.weight": OUTPUT_NORM, "output.weight": OUTPUT}
_IN_LAYER = {
    "attention_norm": "attn_norm",
    "attention.wq": "attn_q",
    "attention.wk": "attn_k",
    "attention.wv": "attn_v",
    "attention.wo": "attn_output",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}
_LAYER = re.compile(r"layers\.(0|[1-9][0-9]{0,3})\.(.+)\.weight")

_BY_COLUMNS = ("attn_output.weight", "ffn_down.weight")
_TYPE_NAMES = {
    "torch.bfloat16": "BF16",
    "torch.float16": "F16",
    "torch.float32": "F32",
    "torch.float64": "F64",
}
_OTHER_SHARDS = "The shards belong to different models, or one is damaged."


def canonical_name(name: str) -> str | None:
    """GGUF's name for what Meta calls so; None where it has no place in a Llama."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    layer = _LAYER.fullmatch(name)
    return f"blk.{layer[1]}.{_IN_LAYER[layer[2]]}.weight" if layer and layer[2] in _IN_LAYER else None


def _is_harmless(name: str) -> bool:
    """Whether it can be left out: RoPE's frequencies follow from the sizes, and extra state is no weight."""
    return name == "rope.freqs" or name.endswith("._extra_state")


@dataclass(frozen=True, slots=True)
class _Shares:
    """One tensor of the model, in as many parts as there are shards; in one where all have the same."""

    name: str
    """Meta's."""
    parts: tuple[Tensor, ...]
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the parts together."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    def rows(self, start: int, stop: int) -> list[Tensor]:
        """Of the parts that have any of them, those rows."""
        if self.axis == 1:
            return [part[start:stop] for part in self.parts]
        ends = list(accumulate((len(part) for part in self.parts), initial=0))
        return [
            part[max(start - first, 0) : stop - first]
            for part, (first, last) in zip(self.parts, pairwise(ends), strict=True)
            if start < last and stop > first
        ] or [self.parts[0][:0]]


class MetaCheckpoint:
    """The weights in Meta's files, merged.

    Args:
        path: what the user gives as `--model`.
        shards: one for each rank, in order.

    Raises:
        ModelError: no Llama, quantised, or shards that do not fit together.
    """

    format: Format = "meta"

    def __init__(self, path: Path, shards: Sequence[PthFile]) -> None:
        self._path = path
        self.shards = shards
        _check_same_names(shards)
        width = _width(shards[0])
        self._shares: dict[str, _Shares] = {}
        for name in shards[0].tensors:
            if not _is_harmless(name):
                canonical = _canonical_or_refuse(name, shards[0])
                self._shares[canonical] = _shares(name, canonical, shards, width)
        self._drop_tied_output()
        self.tensors: Mapping[str, Stored] = {
            canonical: _stored(canonical, shares) for canonical, shares in self._shares.items()
        }

    @property
    def path(self) -> Path:
        """The folder, or the file that was named."""
        return self._path

    def values(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """The rows, as `Checkpoint` has it.

        Read from the first row to the last, the rows before these are given back: of a table of a gigabyte
        never more than two stretches are in memory.
        """
        shares = self._found(name)
        start, stop, _ = slice(start, stop).indices(shares.shape[0])
        if start:
            self._forget_rows(shares, max(0, 2 * start - stop), start)
        parts = shares.rows(start, stop)
        return parts[0] if len(parts) == 1 else _joined(parts, shares.axis)

    def blocks(self, name: str) -> Blocks | None:
        """None: the values lie there one by one."""
        self._found(name)
        return None

    def forget(self, name: str) -> None:
        """Give back the memory that reading the tensor took."""
        shares = self._found(name)
        self._forget_rows(shares, 0, shares.shape[0])

    def _forget_rows(self, shares: _Shares, start: int, stop: int) -> None:
        for rows in shares.rows(start, stop):
            forget_tensor(rows)

    def _found(self, name: str) -> _Shares:
        if name not in self._shares:
            raise ModelError(f"{self.path.name}: there is no tensor {name!r}", hint=DAMAGED)
        return self._shares[name]

    def _drop_tied_output(self) -> None:
        """Forget an output matrix that is the embedding itself, saved once under two names."""
        output, embedding = self._shares.get(OUTPUT), self._shares.get(EMBEDDING)
        if output is None or embedding is None or output.axis != embedding.axis:
            return
        if [_place(part) for part in output.parts] == [_place(part) for part in embedding.parts]:
            del self._shares[OUTPUT]

    def fingerprint(self) -> str:
        """Names these weights."""
        digest = hashlib.sha256()
        for shard in self.shards:
            hash_ends(digest, shard.path, shard.header_bytes, shard.data_places)
        return digest.hexdigest()[:16]


def _joined(parts: Sequence[Tensor], axis: int) -> Tensor:
    """The parts side by side, in memory that goes back to the system as soon as nobody holds it.

    From the heap they would leave holes between the weights that are copied out of them: of two shards a
    load took 1.6 times the weights (2026-11-22).
    """
    import torch

    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    nbytes = prod(shape) * parts[0].element_size()
    if not nbytes:
        return torch.cat(list(parts), dim=axis)
    room = torch.frombuffer(mmap(-1, nbytes), dtype=parts[0].dtype).view(shape)
    return torch.cat(list(parts), dim=axis, out=room)


def _place(part: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return part.data_ptr(), tuple(part.shape), part.stride()


def _stored(canonical: str, shares: _Shares) -> Stored:
    nbytes = sum(part.nbytes for part in shares.parts)
    return Stored(canonical, shares.shape, _TYPE_NAMES[str(shares.parts[0].dtype)], nbytes, shares.name)


def _check_same_names(shards: Sequence[PthFile]) -> None:
    first = shards[0]
    for shard in shards[1:]:
        if odd := sorted(shard.tensors.keys() ^ first.tensors.keys()):
            has, lacks = (shard, first) if odd[0] in shard.tensors else (first, shard)
            raise ModelError(
                f"{lacks.path.name}: there is no {shown(odd[0])}, which {has.path.name} has",
                hint=_OTHER_SHARDS,
            )


def _width(shard: PthFile) -> int:
    """Of the stream between the layers, off the last norm, which no rank has a share of.

    Raises:
        ModelError: no such norm: whatever it is, no Llama as Meta writes them.
    """
    norm = shard.tensors.get("norm.weight")
    if norm is None or norm.dim() != 1:
        some = ", ".join(shown(name) for name in list(shard.tensors)[:3]) or "none at all"
        raise ModelError(
            f"{shard.path.name}: no Llama as Meta writes them: there is no norm.weight (its tensors: {some})",
            hint="If it is one of transformers', give the folder with its safetensors files.",
        )
    return len(norm)


def _canonical_or_refuse(name: str, shard: PthFile) -> str:
    """GGUF's name of the tensor, which is one that the network has, of a type that it computes with."""
    tensor, canonical = shard.tensors[name], canonical_name(name)
    kind = str(tensor.dtype)
    if kind not in _TYPE_NAMES:
        raise ModelError(
            f"{shard.path.name}: {shown(name)} is stored as {kind.removeprefix('torch.')}; "
            "Meta's quantised checkpoints cannot be read",
            hint="Take the bfloat16 checkpoint; --dtype int8 or int4 makes few bits of it.",
        )
    if canonical is None:
        raise NotOursError(
            f"{shard.path.name}: the network has no use for the tensor {shown(name)}",
            hint="Text models of Llama 3 can be read; of others, try the Hugging Face form and --engine hf.",
        )
    if (
        tensor.dim() not in (1, 2)
        or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    ):
        raise ModelError(
            f"{shard.path.name}: {shown(name)} has the shape {str(list(tensor.shape))[:80]}, "
            f"but {tensor.untyped_storage().nbytes():,} bytes",
            hint=DAMAGED,
        )
    return canonical


def _shares(name: str, canonical: str, shards: Sequence[PthFile], width: int) -> _Shares:
    """The tensor's parts out of all shards.

    Norms are looked at, too: every rank has them whole, so they tell shards of models of one shape apart.

    Raises:
        ModelError: they do not fit together.
    """
    import torch

    parts = tuple(shard.tensors[name] for shard in shards)
    first, axis = parts[0], 0
    is_whole = first.dim() == 1
    if canonical.endswith(_BY_COLUMNS):
        axis = 1
    elif canonical == EMBEDDING and first.dim() == 2 and first.shape[1] < width:
        axis = 1  # Llama 2 cut it by columns, Llama 3 cuts it by rows
    for shard, part in zip(shards[1:], parts[1:], strict=True):
        fits = part.shape == first.shape and part.dtype == first.dtype
        if not fits:
            raise ModelError(
                f"{shard.path.name}: {shown(name)} is {_described(part)}, "
                f"in {shards[0].path.name} {_described(first)}",
                hint=_OTHER_SHARDS,
            )
        if is_whole and not torch.equal(_bits(part), _bits(first)):
            raise ModelError(
                f"{shard.path.name}: {shown(name)} has other values than in {shards[0].path.name}, "
                "and is not cut",
                hint=_OTHER_SHARDS,
            )
    return _Shares(name, parts[:1] if is_whole else parts, axis if first.dim() == 2 else 0)


def _bits(values: Tensor) -> Tensor:
    """Its bytes: of the values themselves, NaN is not equal to NaN."""
    import torch

    return values.contiguous().view(torch.uint8)


def _described(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} in {str(tensor.dtype).removeprefix('torch.')}"
