"""What compiled code depends on: sizes, forms, the versions of torch and processor; and its name."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import nn

from llama_chat.engine.fused.words import WORD
from llama_chat.engine.hardware import Machine
from llama_chat.engine.model import Block, Llama
from llama_chat.engine.precision import Precision
from llama_chat.engine.quantize import Int4Linear, Int8Linear, RescoredHead

Kind: TypeAlias = Literal["int4", "int8"]
CacheKind: TypeAlias = Literal["bf16", "int8"]
Part: TypeAlias = Literal["one", "few", "many", "head"]
"""What code is made for: a layer for one new position; for several; for several with weights in 16 bits;
and the output product for one."""

FORMAT = 3
"""Goes up when the step computes otherwise, so that none of before is taken."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """Sizes of a layer and of the output product; forms of the layer's, in the order of the computation."""

    dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    kinds: tuple[Kind, Kind, Kind, Kind]
    """Of queries, keys and values; of the attention's output; of gate and up; of down."""
    kv: CacheKind
    """Of keys and values in the cache."""
    vocab_size: int
    """Rows of the output product where it is one in 8 bits; 0 where it is none."""
    threads: int
    """The code is cut into so many parts."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is made: weights in 16 bits are kept beside 4-bit ones only."""
        many: tuple[Part, ...] = ("many",) if set(self.kinds) == {"int4"} else ()
        head: tuple[Part, ...] = ("head",) if self.vocab_size else ()
        return ("one", "few", *many, *head)

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


def spec_of(llama: Llama, precision: Precision, threads: int) -> LayerSpec | None:
    """What is to be compiled for the network; None where it runs as it is.

    For the processor and packed products in bf16 only: dense products gain little (they are most of the time)
    and Inductor would keep a copy of their weights.
    """
    if precision.device.type != "cpu" or precision.compute is not torch.bfloat16:
        return None
    found = {kinds_of(cast(Block, block)) for block in llama.blocks}
    kinds = found.pop() if len(found) == 1 else None  # a file may keep some layers in more bits
    config = llama.config
    keys_are_words = config.head_dim % WORD == 0 and sys.byteorder == "little"
    if kinds is None or (precision.kv_dtype == "int8" and not keys_are_words):
        return None
    return LayerSpec(
        dim=config.dim,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        head_dim=config.head_dim,
        ffn_dim=config.ffn_dim,
        kinds=kinds,
        kv="int8" if precision.kv_dtype == "int8" else "bf16",
        vocab_size=config.vocab_size if _has_words(llama) else 0,
        threads=threads,
    )


def _has_words(llama: Llama) -> bool:
    """Whether the output product has rows of 8 bits that `head.FusedHead` can read as words."""
    is_whole = llama.config.dim % WORD == 0 and sys.byteorder == "little"
    return is_whole and isinstance(llama.head, RescoredHead)


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
