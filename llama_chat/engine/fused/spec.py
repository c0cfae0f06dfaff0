"""What a compiled layer depends on: sizes, forms, the versions of torch and processor; and its name."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import nn

from llama_chat.engine.hardware import Machine
from llama_chat.engine.model import Block, Llama
from llama_chat.engine.quantize import Int4Linear, Int8Linear

Kind: TypeAlias = Literal["int4", "int8"]
Rows: TypeAlias = Literal["one", "few", "many"]
"""For how many new positions code is made: one; several; several with weights in 16 bits."""

FORMAT = 2
"""Goes up when the step computes otherwise, so that none of before is taken."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """Sizes of a layer and the forms of its four products, in the order of the computation."""

    dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    kinds: tuple[Kind, Kind, Kind, Kind]
    """Of queries, keys and values; of the attention's output; of gate and up; of down."""
    threads: int
    """The code is cut into so many parts."""

    @property
    def rows(self) -> tuple[Rows, ...]:
        """What is made for it: weights in 16 bits are kept beside 4-bit ones only."""
        return ("one", "few", "many") if set(self.kinds) == {"int4"} else ("one", "few")

    @property
    def name(self) -> str:
        """12 hexadecimal digits that another layer, torch, processor or format does not have."""
        described = {
            "format": FORMAT,
            "torch": torch.__version__,
            "processor": Machine().processor_signature(),
            "vectors": torch.backends.cpu.get_cpu_capability(),
            "system": f"{platform.system()} {platform.machine()}",
            **asdict(self),
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def from_json(cls, text: str) -> LayerSpec:
        """What `as_json` gave."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values | {"kinds": tuple(values["kinds"])})

    def as_json(self) -> str:
        """For the process that compiles."""
        return json.dumps(asdict(self))


def spec_of(llama: Llama, dtype: torch.dtype, device: torch.device, threads: int) -> LayerSpec | None:
    """What is to be compiled for the network; None where it runs as it is.

    For the processor and packed products in bf16 only: dense products gain little (they are most of the time)
    and Inductor would keep a copy of their weights.
    """
    if device.type != "cpu" or dtype is not torch.bfloat16:
        return None
    found = {kinds_of(cast(Block, block)) for block in llama.blocks}
    kinds = found.pop() if len(found) == 1 else None  # a file may keep some layers in more bits
    if kinds is None:
        return None
    config = llama.config
    return LayerSpec(
        config.dim, config.n_heads, config.n_kv_heads, config.head_dim, config.ffn_dim, kinds, threads
    )


def kinds_of(block: Block) -> tuple[Kind, Kind, Kind, Kind] | None:
    """The forms of the layer's products; None where one of them has another."""
    kinds = [_kind(module) for module in products_of(block)]
    return None if None in kinds else cast(tuple[Kind, Kind, Kind, Kind], tuple(kinds))


def products_of(block: Block) -> list[nn.Module]:
    """The four products of a layer in the order of the computation."""
    return [block.attention.qkv, block.attention.output, block.ffn.gate_up, block.ffn.down]


def _kind(module: nn.Module) -> Kind | None:
    if isinstance(module, Int4Linear):
        return "int4"
    return "int8" if isinstance(module, Int8Linear) and module.uses_kernel else None
