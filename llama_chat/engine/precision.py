"""How weights are kept: what was asked for, and the form that each matrix takes by it, with its bytes.

The forms are decided here alone, so that what is estimated before loading is what is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import torch

from llama_chat.engine.devices import is_bf16_fast
from llama_chat.engine.files.checkpoint import PLAIN_TYPES, Stored
from llama_chat.engine.quantize import GROUP, INT4_TYPES, takes_int4, takes_int8

DENSE_DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}

Form: TypeAlias = Literal["int4", "int8", "q8_0", "dense"]
"""4-bit groups, 8-bit rows, a token table as Q8_0 has it, or values one by one."""


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights are kept and what the products run in."""

    kind: str
    """`auto` (as the file has them), `int4`, `int8`, or a dense dtype."""
    compute: torch.dtype
    device: torch.device
    kv_dtype: str = "auto"
    """Of keys and values: `auto` (as the products), or `int8`."""

    @property
    def packs(self) -> bool:
        """Whether weights may stay in few bits; `quantize.kernels` says what multiplies them where."""
        return self.kind in ("auto", "int4", "int8")


def choose_precision(dtype: str, device: torch.device, kv_dtype: str = "auto") -> Precision:
    """The precision for a `--dtype` on a device; products run in bf16, or in f16 where bf16 is slow."""
    if dtype in DENSE_DTYPES:
        return Precision(dtype, DENSE_DTYPES[dtype], device, kv_dtype)
    return Precision(dtype, torch.bfloat16 if is_bf16_fast(device) else torch.float16, device, kv_dtype)


def linear_form(matrices: Sequence[Stored], precision: Precision) -> Form:
    """The form of one product for the rows of all the matrices."""
    rows, width = sum(stored.shape[0] for stored in matrices), matrices[0].shape[1]
    is_own = all(stored.type_name in INT4_TYPES for stored in matrices)
    wants_int4 = precision.kind == "int4" or (precision.kind == "auto" and is_own)
    if wants_int4 and takes_int4(rows, width):
        return "int4"
    return head_form(matrices, precision)


def head_form(matrices: Sequence[Stored], precision: Precision) -> Form:
    """The form of the output product. It keeps 8 bits a weight: 4 cost a mean KL of 0.044 (2026-11)."""
    keeps_plain = precision.kind == "auto" and all(stored.type_name in PLAIN_TYPES for stored in matrices)
    return "int8" if precision.packs and not keeps_plain and takes_int8(matrices[0].shape[1]) else "dense"


def embedding_form(table: Stored, precision: Precision) -> Form:
    """The form of the token table: 8 bits where the file has them or few bits are asked for."""
    if precision.packs and table.type_name == "Q8_0":
        return "q8_0"
    return "int8" if precision.kind in ("int4", "int8") and takes_int8(table.shape[1]) else "dense"


def form_bytes(form: Form, shape: tuple[int, ...], precision: Precision) -> int:
    """What a matrix of that shape takes in memory."""
    values = prod(shape)
    itemsize = precision.compute.itemsize
    if form == "int4":
        # Scale and zero a group; Intel's product wants a whole zero point beside them.
        per_group = 2 * itemsize + (precision.device.type == "xpu")
        return values // 2 + values // GROUP * per_group
    if form == "int8":
        return values + shape[0] * (itemsize + torch.float32.itemsize)
    if form == "q8_0":
        return values + values // GROUP * torch.float16.itemsize
    return values * itemsize
