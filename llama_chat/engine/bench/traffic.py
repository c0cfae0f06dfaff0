"""Bytes that one decode step must read: the weights that it multiplies with, and keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from llama_chat.engine.cache import KVCache
from llama_chat.engine.hf.cache import HfCache
from llama_chat.engine.hf.network import HfNetwork
from llama_chat.engine.network import Cache, Network
from llama_chat.engine.quantize.int8 import Int8Embedding, Int8RowEmbedding
from llama_chat.engine.scratch import ScratchNetwork

_TABLES = (nn.Embedding, Int8Embedding, Int8RowEmbedding)
"""Of these a step reads a few rows; where the output is tied to one, the head's own product counts."""


def weights_read_bytes(network: Network) -> int:
    """What of the weights goes through the processor for one token.

    Everything but the token table, once: of it a step takes one row. Of a mixture of experts all are
    counted, though a token meets a few: then it is a bound from above.
    """
    if isinstance(network, ScratchNetwork):
        llama = network.llama
        return _unique_bytes(_multiplied(nn.ModuleList([llama.blocks, llama.norm, llama.head])))
    if isinstance(network, HfNetwork):
        # A tied head holds the table's tensor as its own weight, so it is met outside the table.
        return _unique_bytes(_multiplied(network.model))
    return network.info.weights_bytes


def _multiplied(module: nn.Module) -> Iterator[Tensor]:
    """The tensors of the module and of what is in it, but for tables."""
    if isinstance(module, _TABLES):
        return
    yield from (*module.parameters(recurse=False), *module.buffers(recurse=False))
    for child in module.children():
        yield from _multiplied(child)


def _unique_bytes(tensors: Iterator[Tensor]) -> int:
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def kv_bytes_per_position(cache: Cache) -> int:
    """Keys and values of one position in all layers; 0 where nothing says it."""
    if isinstance(cache, KVCache):
        return cache.nbytes // cache.capacity if cache.capacity else 0
    if isinstance(cache, HfCache) and cache.length:
        return sum(_layer_bytes(layer) for layer in getattr(cache.past, "layers", ())) // cache.length
    return 0


def _layer_bytes(layer: Any) -> int:
    found = (getattr(layer, name, None) for name in ("keys", "values"))
    return sum(tensor.nbytes for tensor in found if isinstance(tensor, Tensor))
