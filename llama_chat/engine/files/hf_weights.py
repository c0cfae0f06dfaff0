"""The tensors of a Hugging Face folder as a `Checkpoint`: one safetensors file, or several with an index."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.files.checkpoint import (
    DAMAGED,
    EMBEDDING,
    OUTPUT,
    OUTPUT_NORM,
    PLAIN_TYPES,
    Blocks,
    Format,
    Stored,
    shown,
)
from llama_chat.engine.files.gguf_model import hash_ends
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.files.safetensors import MAX_TENSORS, SafetensorsFile
from llama_chat.errors import ModelError, NotOursError

if TYPE_CHECKING:
    from torch import Tensor

INDEX_NAME = "model.safetensors.index.json"
MAX_INDEX_BYTES = 1 << 24

_OF_MODEL = {
    "model.embed_tokens.weight": EMBEDDING,
    "model.norm.weight": OUTPUT_NORM,
    "lm_head.weight": OUTPUT,
}
_OF_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER_TENSOR = re.compile(r"model\.layers\.(0|[1-9][0-9]{0,5})\.([a-z_.]+)\.weight")
_GGUF_LAYER_TENSOR = re.compile(r"blk\.([0-9]+)\.([a-z_]+)\.weight")
# Frequencies that old versions of transformers saved with the weights; they follow from the config.
_BUFFER = re.compile(r"model\.(layers\.[0-9]+\.self_attn\.)?rotary_emb\.inv_freq")
_GGUF_NAMESPACE = re.compile(r"(blk\.|token_embd|output|rope_freqs)")
_IN_HALVES = re.compile(r"blk\.[0-9]+\.attn_[qk]\.weight")


def gguf_name(name: str) -> str | None:
    """GGUF's name for a tensor of transformers' Llama; None where it has no place in one."""
    if name in _OF_MODEL:
        return _OF_MODEL[name]
    found = _LAYER_TENSOR.fullmatch(name)
    if found is None or found[2] not in _OF_LAYER:
        return None
    return f"blk.{found[1]}.{_OF_LAYER[found[2]]}.weight"


def hf_name(name: str) -> str:
    """What transformers calls a tensor of a Llama, by GGUF's name for it."""
    found = _GGUF_LAYER_TENSOR.fullmatch(name)
    if found is None:
        return {ours: theirs for theirs, ours in _OF_MODEL.items()}[name]
    theirs = {ours: theirs for theirs, ours in _OF_LAYER.items()}[found[2]]
    return f"model.layers.{found[1]}.{theirs}.weight"


class SafetensorsCheckpoint:
    """The tensors of a model in safetensors files.

    Hugging Face's Llamas turn the first half of a head with the second. Their queries and keys come out with
    rows in Meta's order, neighbouring pairs, so that every checkpoint is the same to the network.

    Args:
        path: the folder, or the file where that was given.
        files: opened; no tensor is in two of them.
        head_dim: rows of one head.

    Raises:
        ModelError: a tensor is there twice, or is quantised.
    """

    format: Format = "safetensors"

    def __init__(self, path: Path, files: Sequence[SafetensorsFile], head_dim: int) -> None:
        self.path = path
        self.files = files
        self.head_dim = head_dim
        self._places: dict[str, tuple[SafetensorsFile, str]] = {}
        tensors: dict[str, Stored] = {}
        for file in files:
            for info in file.tensors.values():
                if _BUFFER.fullmatch(info.name):
                    continue
                name = gguf_name(info.name) or info.name
                label = shown(info.name)
                if name == info.name and _GGUF_NAMESPACE.match(name):
                    raise ModelError(f"{file.path.name}: {label} is GGUF's name of a tensor", hint=DAMAGED)
                if name in tensors:
                    raise ModelError(f"{file.path.name}: {label} is in another file, too", hint=DAMAGED)
                if name != info.name and info.dtype not in PLAIN_TYPES:
                    raise _is_quantised(file, info.name, info.dtype)
                self._places[name] = (file, info.name)
                tensors[name] = Stored(name, info.shape, info.dtype, info.nbytes, info.name)
        self.tensors: Mapping[str, Stored] = tensors

    def _place(self, name: str) -> tuple[SafetensorsFile, str]:
        if name not in self._places:
            raise ModelError(f"{self.path.name}: there is no tensor {shown(name)}", hint=DAMAGED)
        return self._places[name]

    def values(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """The rows, as `Checkpoint` has it."""
        file, own_name = self._place(name)
        if not _IN_HALVES.fullmatch(name):
            return file.values(own_name, start, stop)
        size, (first, last, _) = self.head_dim, slice(start, stop).indices(self.tensors[name].shape[0])
        whole_heads = first // size * size
        rows = file.values(own_name, whole_heads, -(-last // size) * size)
        in_pairs: Tensor = rows.unflatten(0, (-1, 2, size // 2)).transpose(1, 2).flatten(0, 2)
        return in_pairs[first - whole_heads : max(first, last) - whole_heads]

    def blocks(self, name: str) -> Blocks | None:
        """None: nothing is quantised here."""
        self._place(name)
        return None

    def forget(self, name: str) -> None:
        """Give back the memory that reading the tensor took."""
        file, own_name = self._place(name)
        file.forget(own_name)

    def fingerprint(self) -> str:
        """Names these weights."""
        digest = hashlib.sha256()
        for file in self.files:
            ends = [(info.offset, info.nbytes) for info in file.tensors.values()]
            hash_ends(digest, file.path, file.header_bytes, ends)
        return digest.hexdigest()[:16]


def _is_quantised(file: SafetensorsFile, name: str, dtype: str) -> NotOursError:
    return NotOursError(
        f"{file.path.name}: {shown(name)} is stored as {dtype}; "
        f"{', '.join(sorted(PLAIN_TYPES))} can be read from safetensors",
        hint="Take the model in 16 bits, which --dtype int8 or int4 packs while loading, or as GGUF.",
        by_auto=False,
    )


def open_indexed(index: Path) -> list[SafetensorsFile]:
    """The files that an index names, opened, and held against it.

    Raises:
        ModelError: the index is damaged, names a file that is missing or lies elsewhere, or does not say
            where a tensor really is.
    """
    where, file_of = index.name, read_weight_map(index)
    files = [_open_shard(index.parent / name, where) for name in sorted(set(file_of.values()))]
    for file in files:
        for name in file.tensors:
            if file_of.get(name) != file.path.name and not _BUFFER.fullmatch(name):
                raise ModelError(
                    f"{file.path.name}: has the tensor {shown(name)}, which {where} "
                    + ("looks for in another file" if name in file_of else "does not name"),
                    hint="The files are of different models. " + DAMAGED,
                )
    tensors_of = {file.path.name: file.tensors for file in files}
    for name, shard in file_of.items():
        if name not in tensors_of[shard]:
            raise ModelError(
                f"{shard}: there is no tensor {shown(name)}, which {where} looks for in it", hint=DAMAGED
            )
    return files


def read_weight_map(index: Path) -> dict[str, str]:
    """Which file has which tensor; every file is one of the index's own folder."""
    where = index.name
    found = read_json(index, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise ModelError(f"{where}: has no weight_map that says which file has which tensor", hint=DAMAGED)
    if len(found) > MAX_TENSORS:
        raise ModelError(f"{where}: names {len(found):,} tensors", hint=DAMAGED)
    for name in set(found.values()):
        if not re.fullmatch(r"[^/\\:\0]+\.safetensors", name):
            raise ModelError(f"{where}: {shown(name)} is no safetensors file of this folder", hint=DAMAGED)
    return found


def _open_shard(path: Path, index_name: str) -> SafetensorsFile:
    try:
        is_there = path.is_file()
    except OSError:  # a name longer than the system takes
        is_there = False
    if not is_there:
        raise ModelError(
            f"{shown(path.name)} is missing, though {index_name} names it",
            hint="The model was not fetched completely; fetch that file into the same folder.",
        )
    return SafetensorsFile(path)
