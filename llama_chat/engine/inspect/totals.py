"""Sums over the tensors of a model: what it holds, what a decode step reads, what the cache keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_chat.engine.files.checkpoint import EMBEDDING, OUTPUT, OUTPUT_NORM
from llama_chat.engine.inspect.listing import TensorRow, Totals

CACHE_VALUE_BYTES = 2
"""bf16 or f16, as the cache of either engine keeps them."""

_KEYS_AND_VALUES = re.compile(r"blk\.\d+\.attn_[kv]\.weight")
# In the names of tensors of which a mixture of experts reads only some for a token.
_EXPERTS = re.compile(r"_exps\.|\.experts\.")


def totals_of(
    tensors: Sequence[TensorRow],
    *,
    sizes: Mapping[str, Any] | None = None,
    is_replicated: bool = False,
    is_whole: bool = True,
) -> Totals:
    """The sums; what a token costs can be told with the whole model only.

    Args:
        tensors: of one model, or of those of its files that are there.
        sizes: GGUF's metadata, for families whose keys and values have other names.
        is_replicated: whether vectors are the same in all files, as Meta's shards have their norms.
        is_whole: whether these are all of the model's files.
    """
    counted = list(_once(tensors)) if is_replicated else tensors
    kv_values = (_kv_values(counted) if is_whole else 0) or kv_values_from_gguf(sizes or {})
    return Totals(
        parameters=sum(row.parameters for row in counted),
        nbytes=sum(row.nbytes for row in tensors),
        read_bytes_per_token=_read_bytes(counted) if is_whole else None,
        kv_bytes_per_token=CACHE_VALUE_BYTES * kv_values if kv_values else None,
    )


def kv_values_from_gguf(metadata: Mapping[str, Any]) -> int | None:
    """Keys and values of a token in all layers, by the sizes in the metadata; None if it names too few."""
    at = metadata.get("general.architecture")

    def size(key: str, default: Any = None) -> Any:
        return metadata.get(f"{at}.{key}", default)

    layers, width, heads = size("block_count"), size("embedding_length"), size("attention.head_count")
    kv_heads = size("attention.head_count_kv", heads)
    if isinstance(kv_heads, list):  # one for each layer
        layers, kv_heads = 1, sum(n for n in kv_heads if isinstance(n, int))
    if not all(isinstance(n, int) and n > 0 for n in (layers, width, heads, kv_heads)):
        return None
    head_sizes = [size(f"attention.{kind}_length", width // heads) for kind in ("key", "value")]
    if not all(isinstance(n, int) and n > 0 for n in head_sizes):
        return None
    return int(layers * kv_heads * sum(head_sizes))


def _once(tensors: Iterable[TensorRow]) -> Iterable[TensorRow]:
    seen: set[str] = set()
    for row in tensors:
        if len(row.shape) > 1 or row.name not in seen:
            yield row
        seen.add(row.name)


def _kv_values(tensors: Iterable[TensorRow]) -> int:
    """The rows of all key and value matrices; 0 where there are none of these names."""
    return sum(row.shape[0] for row in tensors if row.shape and _KEYS_AND_VALUES.fullmatch(row.gguf_name))


def _read_bytes(tensors: Sequence[TensorRow]) -> int | None:
    """None without an embedding: then it is a part of a model; and for a mixture of experts."""
    names = {row.gguf_name for row in tensors}
    if EMBEDDING not in names or any(_EXPERTS.search(row.name) for row in tensors):
        return None
    total = sum(row.nbytes for row in tensors)
    if OUTPUT not in names:  # the embedding is the output head, too
        return total
    embeddings = [row for row in tensors if row.gguf_name == EMBEDDING]
    rows = [row.nbytes // max(1, row.shape[0]) for row in embeddings]
    width = next((row.shape[-1] for row in tensors if row.gguf_name == OUTPUT_NORM and row.shape), None)
    has_whole_rows = embeddings[0].shape[-1:] == (width,)  # shares of it are cut by rows, else by columns
    return total - sum(row.nbytes for row in embeddings) + (max(rows) if has_whole_rows else sum(rows))
