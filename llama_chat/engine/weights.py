"""From a checkpoint to the modules of the network: which tensor goes where, and in which form.

GGUF's 4-bit types keep their own numbers in a packed layout of the device, 8-bit and odd types become 8-bit
rows; a dense `--dtype` unpacks them. Memory is allocated once and filled a few rows at a time, and the pages
that were read are given back at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.checkpoint import (
    EMBEDDING,
    OUTPUT,
    OUTPUT_NORM,
    PLAIN_TYPES,
    ROPE_DIVISORS,
    Blocks,
    Checkpoint,
    Stored,
    dominant_type,
)
from llama_chat.engine.freeing import trim_heap
from llama_chat.engine.model import (
    Attention,
    Block,
    FeedForward,
    Llama,
    RMSNorm,
    RotaryTable,
    llama3_divisors,
)
from llama_chat.engine.precision import (
    DENSE_DTYPES,
    Precision,
    choose_precision,
    embedding_form,
    head_form,
    linear_form,
)
from llama_chat.engine.quantize import (
    INT4_TYPES,
    Int4Groups,
    Int4Slices,
    Int8Embedding,
    Int8Linear,
    Int8RowEmbedding,
    RescoredHead,
    Trials,
    build_int4_linear,
    int4_groups_from_gguf,
    quantize_int4,
    rows_at_once,
)

__all__ = ["Precision", "WeightBuilder", "build_llama", "choose_precision", "running_dtype"]

_VALUES_PER_TRIM = 1 << 22

LAYER_PRODUCTS = {
    "attention.qkv": ("attn_q", "attn_k", "attn_v"),
    "attention.output": ("attn_output",),
    "ffn.gate_up": ("ffn_gate", "ffn_up"),
    "ffn.down": ("ffn_down",),
}
"""The products of a layer by their modules' names in `Block`, and the tensors under each other in each."""


class WeightBuilder:
    """Builds modules from the tensors of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self.checkpoint = checkpoint
        self.precision = precision
        self._trials: Trials = {}
        self._values_since_trim = 0

    def load_dense(self, *names: str, dtype: torch.dtype) -> Tensor:
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
        """The rows of the tensors, a few at a time, so that a large table is never whole in f32."""
        for name in names:
            for start, stop in self._cuts(name):
                yield self.checkpoint.values(name, start, stop)
                self._forget(name, stop - start)

    def _block_slices(self, name: str) -> Iterator[Blocks]:
        """The same of a quantised matrix as it lies in the file."""
        blocks = self.checkpoint.blocks(name)
        assert blocks is not None, f"{name} is quantised"
        for start, stop in self._cuts(name):
            yield blocks._replace(raw=blocks.raw[start:stop])
            self._forget(name, stop - start)

    def _forget(self, name: str, rows: int) -> None:
        """Give back what reading so many rows took, in pages and, now and then, in the heap."""
        self.checkpoint.forget(name)
        self._values_since_trim += rows * prod(self.checkpoint.tensors[name].shape[1:])
        if self._values_since_trim > _VALUES_PER_TRIM:
            self._values_since_trim = 0
            trim_heap()

    def _cuts(self, name: str) -> Iterator[tuple[int, int]]:
        rows, *inner = self.checkpoint.tensors[name].shape
        at_once = rows_at_once(prod(inner))
        for start in range(0, rows, at_once):
            yield start, min(start + at_once, rows)

    def _shape(self, names: Sequence[str]) -> tuple[int, int]:
        """[N, D] of the matrices under each other."""
        shapes = [self.checkpoint.tensors[name].shape for name in names]
        return sum(shape[0] for shape in shapes), shapes[0][1]

    def load_norm(self, name: str, eps: float) -> RMSNorm:
        """An RMSNorm with that weight."""
        return RMSNorm(self.load_dense(name, dtype=torch.float32).view(-1), eps)

    def load_linear(self, *names: str) -> nn.Module:
        """One product for the rows of all the named matrices, in order."""
        form = linear_form([self.checkpoint.tensors[name] for name in names], self.precision)
        if form == "int4":
            return build_int4_linear(
                self._int4(*names), self.precision.device, self.precision.compute, self._trials
            )
        if form == "int8":
            return self._int8(*names)
        return _dense_linear(self.load_dense(*names, dtype=self.precision.compute))

    def _int8(self, *names: str) -> Int8Linear:
        compute, device = self.precision.compute, self.precision.device
        return Int8Linear(self._on_device(*names), self._shape(names), compute, device)

    def _on_device(self, *names: str) -> Iterator[Tensor]:
        """The slices where they will be used, which is where numbers are best worked out for them."""
        for part in self._slices(*names):
            # Apple's GPUs have no f64.
            yield (part.float() if part.dtype is torch.float64 else part).to(self.precision.device)

    def layer_matrices(self, n_layers: int) -> dict[str, Int4Slices]:
        """The layers' matrices that are packed in 4 bits, by the names of their modules in `Llama`."""
        found = {}
        for layer in range(n_layers):
            for module, parts in LAYER_PRODUCTS.items():
                names = _tensor_names(layer, parts)
                if linear_form([self.checkpoint.tensors[name] for name in names], self.precision) == "int4":
                    found[f"blocks.{layer}.{module}"] = self._int4(*names)
        return found

    def _int4(self, *names: str) -> Int4Slices:
        return Int4Slices(self._shape(names), lambda: self._groups(*names))

    def _groups(self, *names: str) -> Iterator[Int4Groups]:
        """4-bit numbers, a few rows at a time: the file's own, or the nearest."""
        for name in names:
            if self.checkpoint.tensors[name].type_name not in INT4_TYPES:
                yield from map(quantize_int4, self._on_device(name))
                continue
            for blocks in self._block_slices(name):
                own = int4_groups_from_gguf(blocks)
                assert own is not None, f"{blocks.type.name} has a reader"
                yield own

    def load_embedding(self, name: str = EMBEDDING) -> nn.Module:
        """The rows of the token table."""
        form = embedding_form(self.checkpoint.tensors[name], self.precision)
        if form == "q8_0":
            parts = (blocks.raw for blocks in self._block_slices(name))
            return Int8Embedding(parts, self._shape([name]), self.precision.compute, self.precision.device)
        if form == "int8":
            return Int8RowEmbedding(self._int8(name), self.precision.compute)
        rows = self.load_dense(name, dtype=self.precision.compute)
        # Not made on "meta" first: its random numbers there import torch._dynamo (64 MB; 2026-11-22).
        embedding: nn.Embedding = nn.Embedding.from_pretrained(rows)
        return embedding

    def load_head(self, name: str, embedding: nn.Module) -> nn.Module:
        """The output product; where few bits are asked for, it shares a tied table's memory.

        Args:
            name: of its matrix, which is that of the embedding where the output is tied.
            embedding: the module of the token table.
        """
        is_tied = name == EMBEDDING
        if head_form([self.checkpoint.tensors[name]], self.precision) == "int8":
            if is_tied and isinstance(embedding, Int8RowEmbedding):
                return RescoredHead(embedding.rows, embedding)
            fast = self._int8(name)
            if is_tied and isinstance(embedding, Int8Embedding):
                return RescoredHead(fast, embedding)
            if self.precision.kind in ("int4", "int8"):
                return RescoredHead(fast, Int8RowEmbedding(fast, self.precision.compute))
            return fast
        if is_tied and isinstance(embedding, nn.Embedding):
            return _dense_linear(embedding.weight.data)  # tied: one copy for both
        return _dense_linear(self.load_dense(name, dtype=self.precision.compute))


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
    embedding = weights.load_embedding()
    device = weights.precision.device
    network = Llama(
        config,
        embedding,
        blocks,
        weights.load_norm(OUTPUT_NORM, config.norm_eps),
        weights.load_head(EMBEDDING if config.tied_output else OUTPUT, embedding),
        RotaryTable(config.head_dim, config.rope_theta, device, _rope_divisors(config, weights)),
    )
    trim_heap()
    report(1.0)
    return network.eval()


def _rope_divisors(config: LlamaConfig, weights: WeightBuilder) -> Tensor:
    """[P], what RoPE's frequencies are divided by; ones where they stay as they are."""
    divisors = torch.full((config.head_dim // 2,), config.rope_divisor)
    if ROPE_DIVISORS in weights.checkpoint.tensors:
        divisors *= weights.load_dense(ROPE_DIVISORS, dtype=torch.float32).cpu()
    elif config.rope_scaling is not None:
        divisors *= llama3_divisors(config.head_dim, config.rope_theta, config.rope_scaling)
    return divisors


def _build_block(config: LlamaConfig, weights: WeightBuilder, layer: int) -> Block:
    at = f"blk.{layer}."
    qkv, output, gate_up, down = (
        weights.load_linear(*_tensor_names(layer, parts)) for parts in LAYER_PRODUCTS.values()
    )
    return Block(
        weights.load_norm(f"{at}attn_norm.weight", config.norm_eps),
        Attention(config, layer, qkv, output),
        weights.load_norm(f"{at}ffn_norm.weight", config.norm_eps),
        FeedForward(gate_up, down),
    )


def _tensor_names(layer: int, parts: Sequence[str]) -> list[str]:
    return [f"blk.{layer}.{part}.weight" for part in parts]


def running_dtype(tensors: Iterable[Stored], precision: Precision) -> str:
    """What the products run in, as the user knows it: the file's own type while it is packed, or `bf16`."""
    if precision.kind != "auto":
        return precision.kind
    stored = dominant_type(tensors)
    if precision.packs and stored not in PLAIN_TYPES:
        return stored
    return next(name for name, dtype in DENSE_DTYPES.items() if dtype is precision.compute)
