"""What a model would take on a device, by its sizes alone: nothing of it is on this disk yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.devices import find_device, free_memory
from llama_chat.engine.files.checkpoint import EMBEDDING, OUTPUT, OUTPUT_NORM, Stored
from llama_chat.engine.quick_fit import fit_of
from llama_chat.settings import ModelSettings
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.offers import Offer


def fit_offer(offer: Offer, settings: ModelSettings) -> ShortFit:
    """How the from-scratch engine would hold the offer on the device of the settings.

    Raises:
        DeviceError: there is no such device.
    """
    config, tensors = _config(offer), {stored.name: stored for stored in _tensors(offer)}
    device = find_device(settings.device)
    return fit_of(config, tensors, settings, device, free_memory(device))


def _config(offer: Offer) -> LlamaConfig:
    shape = offer.shape
    return LlamaConfig(
        dim=shape.dim,
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        head_dim=shape.head_dim,
        ffn_dim=shape.ffn_dim,
        vocab_size=shape.vocab_size,
        context_length=shape.context_length,
        norm_eps=1e-5,
        rope_theta=5e5,
        tied_output=shape.is_tied,
    )


def _tensors(offer: Offer) -> Iterator[Stored]:
    """All that a file of it holds."""
    shape = offer.shape
    q_rows, kv_rows = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim

    def matrix(name: str, rows: int, width: int) -> Stored:
        return Stored(name, (rows, width), offer.type_name, 2 * rows * width)

    table = matrix(EMBEDDING, shape.vocab_size, shape.dim)
    yield replace(table, type_name=offer.table_type_name, nbytes=table.nbytes // 2)
    if not shape.is_tied:
        yield matrix(OUTPUT, shape.vocab_size, shape.dim)
    yield Stored(OUTPUT_NORM, (shape.dim,), "F32", 4 * shape.dim)
    for layer in range(shape.n_layers):
        at = f"blk.{layer}."
        yield matrix(f"{at}attn_q.weight", q_rows, shape.dim)
        yield matrix(f"{at}attn_k.weight", kv_rows, shape.dim)
        yield matrix(f"{at}attn_v.weight", kv_rows, shape.dim)
        yield matrix(f"{at}attn_output.weight", shape.dim, q_rows)
        yield matrix(f"{at}ffn_gate.weight", shape.ffn_dim, shape.dim)
        yield matrix(f"{at}ffn_up.weight", shape.ffn_dim, shape.dim)
        yield matrix(f"{at}ffn_down.weight", shape.dim, shape.ffn_dim)
