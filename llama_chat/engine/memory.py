"""What a model needs before anything of it is loaded, and whether a device has that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from llama_chat.engine.cache import cache_capacity
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.devices import device_label
from llama_chat.engine.files.checkpoint import (
    EMBEDDING,
    OUTPUT,
    PLAIN_TYPES,
    Stored,
    dominant_type,
)
from llama_chat.engine.int8_cache import SCALE_DTYPE
from llama_chat.engine.live_cache import PREFILL_CHUNK
from llama_chat.engine.precision import (
    DENSE_DTYPES,
    Precision,
    choose_precision,
    embedding_form,
    form_bytes,
    head_form,
    linear_form,
)
from llama_chat.engine.quantize import INT4_TYPES
from llama_chat.engine.quantize.kernels import has_int4_product
from llama_chat.errors import DeviceError
from llama_chat.units import about_bytes

FIRST_CONTEXT = 4096
"""Tokens of context that there must be room for, where none were asked for: the cache grows as it fills."""

TIGHT = 0.9
"""Part of the free memory from which on a model is called tight."""

_UNPACKED_BYTES = 96 << 20  # of a slice that is unpacked for a product, and of what a step leaves behind
_FEWER_BITS = ("bf16", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a model takes."""

    weights_bytes: int
    cache_bytes: int
    """Keys and values of the whole context."""
    working_bytes: int
    """What a prefill of one chunk takes beside them, by its largest tensors."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.working_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """A precision that fits, and what to say of the choice."""

    precision: Precision
    notices: tuple[str, ...] = ()


# --- how much --------------------------------------------------------------------------------------


def estimate(config: LlamaConfig, tensors: Mapping[str, Stored], precision: Precision, context: int) -> Need:
    """What the from-scratch network takes with a context of that many tokens.

    Args:
        config: the model's sizes.
        tensors: what its files hold.
        precision: how the weights will be kept.
        context: tokens; 0 takes what the model was made for.
    """
    length = context or config.context_length
    return Need(
        _weights_bytes(config, tensors, precision),
        cache_capacity(length) * cache_bytes_per_token(config, precision),
        _working_bytes(config, precision, length),
    )


def cache_bytes_per_token(config: LlamaConfig, precision: Precision) -> int:
    """Bytes of keys and values for every token of context."""
    values = config.kv_values_per_token
    if precision.kv_dtype == "int8":
        return values + values // config.head_dim * SCALE_DTYPE.itemsize
    return values * precision.compute.itemsize


def _weights_bytes(config: LlamaConfig, tensors: Mapping[str, Stored], precision: Precision) -> int:
    """As `weights.WeightBuilder` builds them."""

    def linear(*names: str) -> int:
        matrices = [tensors[name] for name in names]
        rows, width = sum(stored.shape[0] for stored in matrices), matrices[0].shape[1]
        return form_bytes(linear_form(matrices, precision), (rows, width), precision)

    norm_bytes = 2 * config.dim * torch.float32.itemsize  # the weight, and epsilon spread over a row
    total = norm_bytes
    for layer in range(config.n_layers):
        at = f"blk.{layer}."
        total += linear(f"{at}attn_q.weight", f"{at}attn_k.weight", f"{at}attn_v.weight")
        total += linear(f"{at}attn_output.weight")
        total += linear(f"{at}ffn_gate.weight", f"{at}ffn_up.weight")
        total += linear(f"{at}ffn_down.weight") + 2 * norm_bytes
    return total + _table_bytes(config, tensors, precision)


def _table_bytes(config: LlamaConfig, tensors: Mapping[str, Stored], precision: Precision) -> int:
    """Token table and output product; a tied one is counted once where both have one form."""
    table = tensors[EMBEDDING]
    output = table if config.tied_output else tensors[OUTPUT]
    table_form, output_form = embedding_form(table, precision), head_form([output], precision)
    total = form_bytes(table_form, table.shape, precision)
    if config.tied_output and table_form == output_form:
        return total
    return total + form_bytes(output_form, output.shape, precision)


def _working_bytes(config: LlamaConfig, precision: Precision, length: int) -> int:
    """The largest tensors of a prefill that are there at one time, the mask among them, and the logits."""
    rows = min(PREFILL_CHUNK, length)
    heads = (config.n_heads + 2 * config.n_kv_heads) * config.head_dim
    activations = rows * (3 * config.ffn_dim + 2 * heads + 4 * config.dim) * precision.compute.itemsize
    masks = rows * length * precision.compute.itemsize
    if precision.device.type != "cpu":
        masks *= 1 + config.n_heads // config.n_kv_heads  # once more for each row of a group of heads
    logits = 4 * config.vocab_size * torch.float32.itemsize
    rotations = 2 * length * config.head_dim * torch.float32.itemsize
    unpacked = 0
    if precision.kv_dtype != "auto":  # a layer's keys or values in f32, and both in what computes
        per_layer = config.kv_values_per_token // config.n_layers
        unpacked = length * per_layer * (torch.float32.itemsize // 2 + precision.compute.itemsize)
    return activations + masks + logits + rotations + unpacked + _UNPACKED_BYTES


def largest_context(
    config: LlamaConfig, tensors: Mapping[str, Stored], precision: Precision, free_bytes: int
) -> int:
    """The most tokens of context that fit, in whole hundreds; at most the model's own; 0: none."""
    low, high = 0, config.context_length
    if estimate(config, tensors, precision, high).total_bytes <= free_bytes:
        return high
    while high - low > 100:
        middle = (low + high) // 2
        if estimate(config, tensors, precision, middle).total_bytes <= free_bytes:
            low = middle
        else:
            high = middle
    return low // 100 * 100


def verdict(need: Need, free_bytes: int | None) -> str:
    """`fits`, `tight`, `does not fit`, or `unknown` where nobody says what is free."""
    if free_bytes is None:
        return "unknown"
    if need.total_bytes > free_bytes:
        return "does not fit"
    return "tight" if need.total_bytes > TIGHT * free_bytes else "fits"


# --- what fits -------------------------------------------------------------------------------------


def plan_precision(
    dtype: str,
    device: torch.device,
    config: LlamaConfig,
    tensors: Mapping[str, Stored],
    *,
    context: int,
    free_bytes: int | None,
    kv_dtype: str = "auto",
) -> Plan:
    """The precision for a `--dtype`, held against the free memory before anything is loaded.

    `auto` keeps GGUF's own few bits, but on a GPU that has no product for them and room for dense weights.
    Plain weights become bf16 (f16 where bf16 is slow), and fewer bits only where memory asks for it.

    Args:
        dtype: as the settings have it.
        device: where the model will run.
        config: the model's sizes.
        tensors: what its files hold.
        context: tokens that were asked for; 0: none in particular.
        free_bytes: of the device; None: not known, then anything fits.
        kv_dtype: of keys and values, as the settings have it.

    Raises:
        DeviceError: nothing that is allowed fits; with numbers, and a smaller choice.
    """
    first = choose_precision(dtype, device, kv_dtype)
    if dtype == "auto":
        first = _without_own_product(first, config, tensors, context, free_bytes)
    if free_bytes is None:
        return Plan(first)
    need = _first_need(config, tensors, first, context)
    if need.total_bytes <= free_bytes:
        return Plan(first, _context_notice(config, tensors, first, context, free_bytes))
    is_plain = dominant_type(tensors.values()) in PLAIN_TYPES
    if dtype == "auto" and is_plain:
        for kind in ("int8", "int4"):
            fewer = choose_precision(kind, device, kv_dtype)
            if _first_need(config, tensors, fewer, context).total_bytes <= free_bytes:
                dense = _kind_of(first)
                said = (
                    f"The weights are kept in {kind}: in {dense} this needs {about_bytes(need.total_bytes)}, "
                    f"and {device_label(device)} has {about_bytes(free_bytes)} free."
                )
                return Plan(fewer, (said, *_context_notice(config, tensors, fewer, context, free_bytes)))
    raise out_of_memory(first, config, tensors, context=context, free_bytes=free_bytes)


def _kind_of(precision: Precision) -> str:
    """The name of what the products of plain weights run in."""
    return next(name for name, dtype in DENSE_DTYPES.items() if dtype is precision.compute)


def _first_need(
    config: LlamaConfig, tensors: Mapping[str, Stored], precision: Precision, context: int
) -> Need:
    """With the context that was asked for, or as much of the model's as a chat begins with."""
    return estimate(config, tensors, precision, context or min(config.context_length, FIRST_CONTEXT))


def _without_own_product(
    precision: Precision,
    config: LlamaConfig,
    tensors: Mapping[str, Stored],
    context: int,
    free_bytes: int | None,
) -> Precision:
    """Dense instead of the file's own few bits, on a GPU where they would be unpacked for every product."""
    device, stored = precision.device, dominant_type(tensors.values())
    if device.type == "cpu" or stored in PLAIN_TYPES or free_bytes is None:
        return precision
    if stored in INT4_TYPES and has_int4_product(device, precision.compute):
        return precision
    dense = choose_precision(_kind_of(precision), device, precision.kv_dtype)
    fits = _first_need(config, tensors, dense, context).total_bytes <= TIGHT * free_bytes
    return dense if fits else precision


def _context_notice(
    config: LlamaConfig, tensors: Mapping[str, Stored], precision: Precision, context: int, free_bytes: int
) -> tuple[str, ...]:
    """A word where the model's whole context will not fit, though a chat can begin."""
    if context or estimate(config, tensors, precision, 0).total_bytes <= free_bytes:
        return ()
    fitting = largest_context(config, tensors, precision, free_bytes)
    return (
        f"Of the context of {config.context_length:,} tokens about {fitting:,} fit into the "
        f"{about_bytes(free_bytes)} that {device_label(precision.device)} has free.",
    )


def out_of_memory(
    precision: Precision,
    config: LlamaConfig,
    tensors: Mapping[str, Stored],
    *,
    context: int,
    free_bytes: int | None,
) -> DeviceError:
    """The error for a model that does not fit: what it needs, what is free, and what would fit."""
    need = _first_need(config, tensors, precision, context).total_bytes
    where = device_label(precision.device)
    if free_bytes is None or free_bytes >= need:  # then an allocation has failed all the same
        free_bytes = None
        message = f"{where} had no room for the {about_bytes(need)} that this needs."
    else:
        message = f"This needs {about_bytes(need)}; {where} has {about_bytes(free_bytes)} free."
    smaller = _smaller_kinds(precision, config, tensors, context, min(need, free_bytes or need))
    hints = []
    if smaller:
        hints.append(
            "Try " + " or ".join(f"--dtype {kind} ({about_bytes(size)})" for kind, size in smaller) + "."
        )
    if context and free_bytes is not None:
        fitting = largest_context(config, tensors, precision, free_bytes)
        if fitting >= 512:
            hints.append(f"--context {min(fitting, context)} fits, too.")
    return DeviceError(message, hint=" ".join(hints) or "Take a smaller model.")


def _smaller_kinds(
    precision: Precision, config: LlamaConfig, tensors: Mapping[str, Stored], context: int, limit: int
) -> list[tuple[str, int]]:
    """Precisions that need less than the limit, the largest first, with their bytes."""
    found = []
    for kind in _FEWER_BITS:
        fewer = choose_precision(kind, precision.device, precision.kv_dtype)
        size = _first_need(config, tensors, fewer, context).total_bytes
        if kind != precision.kind and size < limit:
            found.append((kind, size))
    return found
