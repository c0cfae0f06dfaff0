"""From a checkpoint to the modules of the network: which tensor goes where, and in which form.

On the CPU the 4-bit types keep their own numbers in torch's packed layout, 8-bit and odd types become 8-bit
rows; wherever those products do not run (GPUs for now, f32) weights are unpacked. Tensors are copied a few
thousand rows at a time, and the pages that were read are given back at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from torch import Tensor, nn

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.checkpoint import (
    EMBEDDING,
    OUTPUT,
    OUTPUT_NORM,
    PLAIN_TYPES,
    ROPE_DIVISORS,
    Checkpoint,
    Stored,
    dominant_type,
)
from llama_chat.engine.model import (
    Attention,
    Block,
    FeedForward,
    Llama,
    RMSNorm,
    RotaryTable,
    llama3_divisors,
)
from llama_chat.engine.quantize import (
    Int4Groups,
    Int4Linear,
    Int8Embedding,
    Int8Linear,
    RescoredHead,
    int4_groups_from_gguf,
    quantize_int4,
)
from llama_chat.errors import ModelError

_SLICE_ROWS = 4096
_DENSE_DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights are kept and what the products run in."""

    kind: str
    """`auto` (as the file has them), `int4`, `int8`, or a dense dtype."""
    compute: torch.dtype
    device: torch.device

    @property
    def packs(self) -> bool:
        """Whether products of few bits are used: they run on the CPU, in bf16."""
        return self.kind in ("auto", "int4", "int8") and self.device.type == "cpu"


def choose_precision(dtype: str, device: torch.device) -> Precision:
    """The precision for a `--dtype` on a device.

    Raises:
        ModelError: few bits were asked for where they do not run.
    """
    if dtype in _DENSE_DTYPES:
        return Precision(dtype, _DENSE_DTYPES[dtype], device)
    if dtype in ("int4", "int8") and device.type != "cpu":
        raise ModelError(f"--dtype {dtype} runs on the CPU only", hint="Try --dtype bf16 or f16.")
    return Precision(dtype, torch.bfloat16, device)


class WeightBuilder:
    """Builds modules from the tensors of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self.checkpoint = checkpoint
        self.precision = precision

    def dense(self, *names: str, dtype: torch.dtype) -> Tensor:
        """The rows of all the tensors, in order, unpacked, on the device."""
        shapes = [self.checkpoint.tensors[name].shape for name in names]
        rows = sum(shape[0] for shape in shapes)
        out = torch.empty(rows, *shapes[0][1:], dtype=dtype, device=self.precision.device)
        at = 0
        for part in self._slices(*names):
            out[at : at + len(part)] = part
            at += len(part)
        return out

    def _slices(self, *names: str) -> Iterator[Tensor]:
        """The rows of the tensors, a few thousand at a time, so that a large table is never whole in f32."""
        for name in names:
            rows = self.checkpoint.tensors[name].shape[0]
            for start in range(0, rows, _SLICE_ROWS):
                yield self.checkpoint.values(name, start, min(start + _SLICE_ROWS, rows))
            self.checkpoint.forget(name)

    def norm(self, name: str, eps: float) -> RMSNorm:
        """An RMSNorm with that weight."""
        return RMSNorm(self.dense(name, dtype=torch.float32).view(-1), eps)

    def linear(self, *names: str) -> nn.Module:
        """One product for the rows of all the named matrices, in order."""
        infos = [self.checkpoint.tensors[name] for name in names]
        rows, width = sum(info.shape[0] for info in infos), infos[0].shape[1]
        if self.precision.packs and self.precision.kind != "int8" and Int4Linear.takes(rows, width):
            groups = [self._groups(name) for name in names]
            if all(part is not None for part in groups):
                return Int4Linear(Int4Groups.stack([part for part in groups if part is not None]))
        if self._takes_int8(infos):
            return Int8Linear(self._slices(*names), self.precision.compute)
        return _dense_linear(self.dense(*names, dtype=self.precision.compute))

    def _takes_int8(self, infos: Sequence[Stored]) -> bool:
        """Whether 8-bit rows are wanted, or the file's own type has no better form, and they can be had."""
        keeps_plain = self.precision.kind == "auto" and all(info.type_name in PLAIN_TYPES for info in infos)
        return self.precision.packs and not keeps_plain and Int8Linear.takes(infos[0].shape[1])

    def _groups(self, name: str) -> Int4Groups | None:
        """4-bit numbers: the file's own, or made when 4 bits were asked for."""
        blocks = self.checkpoint.blocks(name)
        own = None if blocks is None else int4_groups_from_gguf(blocks)
        if own is None and self.precision.kind == "int4":
            own = Int4Groups.stack([quantize_int4(part) for part in self._slices(name)])
        if own is not None:
            self.checkpoint.forget(name)
        return own

    def embedding(self, name: str = EMBEDDING) -> nn.Module:
        """The rows of the token table."""
        blocks = self.checkpoint.blocks(name)
        if blocks is not None and blocks.type is GGMLType.Q8_0 and self.precision.packs:
            table = Int8Embedding(blocks.raw, blocks.width, self.precision.compute)
            self.checkpoint.forget(name)
            return table
        rows = self.dense(name, dtype=self.precision.compute)
        embedding = nn.Embedding(rows.shape[0], rows.shape[1], device="meta")
        embedding.weight = nn.Parameter(rows, requires_grad=False)
        return embedding

    def head(self, name: str, embedding: nn.Module) -> nn.Module:
        """The output product. Packed, it keeps 8 bits a weight: 4 bits cost a mean KL of 0.044 (2026-11).

        Args:
            name: of its matrix, which is that of the embedding where the output is tied.
            embedding: the module of the token table.
        """
        if self._takes_int8([self.checkpoint.tensors[name]]):
            fast = Int8Linear(self._slices(name), self.precision.compute)
            if name == EMBEDDING and isinstance(embedding, Int8Embedding):
                return RescoredHead(fast, embedding)
            return fast
        if name == EMBEDDING and isinstance(embedding, nn.Embedding):
            return _dense_linear(embedding.weight.data)  # tied: one copy for both
        return _dense_linear(self.dense(name, dtype=self.precision.compute))


def _dense_linear(weight_ND: Tensor) -> nn.Linear:
    n, d = weight_ND.shape
    linear = nn.Linear(d, n, bias=False, device="meta")
    linear.weight = nn.Parameter(weight_ND, requires_grad=False)
    return linear


def build_llama(
    config: LlamaConfig, weights: WeightBuilder, report: Callable[[float], None] = lambda _: None
) -> Llama:
    """The network with the file's weights; `report` hears the fraction that is done, layer by layer.

    Raises:
        ModelError: a tensor is missing or of a type that cannot be unpacked.
    """
    blocks = []
    for layer in range(config.n_layers):
        report(layer / (config.n_layers + 1))
        blocks.append(_build_block(config, weights, layer))
    report(config.n_layers / (config.n_layers + 1))
    embedding = weights.embedding()
    device = weights.precision.device
    network = Llama(
        config,
        embedding,
        blocks,
        weights.norm(OUTPUT_NORM, config.norm_eps),
        weights.head(EMBEDDING if config.tied_output else OUTPUT, embedding),
        RotaryTable(config.head_dim, config.rope_theta, device, _rope_divisors(config, weights)),
    )
    report(1.0)
    return network.eval()


def _rope_divisors(config: LlamaConfig, weights: WeightBuilder) -> Tensor:
    """[P], what RoPE's frequencies are divided by; ones where they stay as they are."""
    divisors = torch.full((config.head_dim // 2,), config.rope_divisor)
    if ROPE_DIVISORS in weights.checkpoint.tensors:
        divisors *= weights.dense(ROPE_DIVISORS, dtype=torch.float32).cpu()
    elif config.rope_scaling is not None:
        divisors *= llama3_divisors(config.head_dim, config.rope_theta, config.rope_scaling)
    return divisors


def _build_block(config: LlamaConfig, weights: WeightBuilder, layer: int) -> Block:
    at = f"blk.{layer}."
    qkv = weights.linear(f"{at}attn_q.weight", f"{at}attn_k.weight", f"{at}attn_v.weight")
    return Block(
        weights.norm(f"{at}attn_norm.weight", config.norm_eps),
        Attention(config, layer, qkv, weights.linear(f"{at}attn_output.weight")),
        weights.norm(f"{at}ffn_norm.weight", config.norm_eps),
        FeedForward(
            weights.linear(f"{at}ffn_gate.weight", f"{at}ffn_up.weight"),
            weights.linear(f"{at}ffn_down.weight"),
        ),
    )


def running_dtype(tensors: Iterable[Stored], precision: Precision) -> str:
    """What the products run in, as the user knows it: the file's own type while it is packed, or `bf16`."""
    if precision.kind != "auto":
        return precision.kind
    stored = dominant_type(tensors)
    if precision.packs and stored not in PLAIN_TYPES:
        return stored
    return next(name for name, dtype in _DENSE_DTYPES.items() if dtype is precision.compute)
