"""The sizes of a Llama, whatever file they were read from, held against the tensors that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llama_chat.engine.files.checkpoint import (
    DAMAGED,
    EMBEDDING,
    OTHER_ENGINE,
    OUTPUT,
    OUTPUT_NORM,
    ROPE_DIVISORS,
    Stored,
    shown,
)
from llama_chat.errors import ModelError, NotOursError

__all__ = ["OTHER_ENGINE", "LlamaConfig", "RopeScaling", "check_config", "check_context", "expected_shapes"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3.1's stretching of the context: slow rotations are slowed by `factor`, fast ones stay.

    Source: the Llama 3.1 models' `config.json` ("rope_type": "llama3").
    """

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192
    """Tokens that the model was first trained on."""


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes of the network. RoPE turns neighbouring pairs (2i, 2i+1) of a head, as Meta's checkpoints do."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    context_length: int
    norm_eps: float
    rope_theta: float
    tied_output: bool
    rope_divisor: float = 1.0
    """All frequencies are divided by it: linear scaling, which stretches the context by this factor."""
    rope_scaling: RopeScaling | None = None
    """Llama 3's scaling, where the file has its figures; GGUF has the tensor `rope_freqs.weight` instead."""

    @property
    def kv_values_per_token(self) -> int:
        """Numbers that the cache keeps for every token."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim


def check_config(config: LlamaConfig, tensors: Mapping[str, Stored], where: str) -> None:
    """Hold the sizes against each other and against the tensors.

    Args:
        config: as the file says.
        tensors: what is there.
        where: the file or folder, for errors.

    Raises:
        ModelError: naming the first thing that does not fit.
    """
    if config.n_heads % config.n_kv_heads or config.head_dim % 2:
        raise ModelError(
            f"{where}: {config.n_heads} heads of size {config.head_dim} cannot share "
            f"{config.n_kv_heads} key/value heads",
            hint=DAMAGED,
        )
    if config.n_layers > len(tensors):
        raise ModelError(
            f"{where}: {config.n_layers:,} layers, but only {len(tensors)} tensors", hint=DAMAGED
        )
    for name, shape in expected_shapes(config).items():
        stored = tensors.get(name)
        if stored is None:
            raise ModelError(f"{where}: there is no tensor {name!r}", hint=DAMAGED)
        if stored.shape != shape:
            raise ModelError(
                f"{where}: {stored.source_name or name} has the shape {list(stored.shape)}, "
                f"wanted {list(shape)}",
                hint=f"{DAMAGED} Or some of the files are of another model.",
            )
    _check_extras(config, tensors, where)


def _check_extras(config: LlamaConfig, tensors: Mapping[str, Stored], where: str) -> None:
    """A tensor that the network has no use for (a bias, say) would be a different model, silently.

    Raises:
        ModelError: there is one.
    """
    known = expected_shapes(config).keys() | {ROPE_DIVISORS}
    for name in sorted(tensors.keys() - known):
        raise NotOursError(
            f"{where}: the from-scratch engine has no use for the tensor {shown(name)}", hint=OTHER_ENGINE
        )
    divisors = tensors.get(ROPE_DIVISORS)
    if divisors is not None and divisors.shape != (config.head_dim // 2,):
        raise ModelError(
            f"{where}: {ROPE_DIVISORS} has the shape {list(divisors.shape)}, wanted {[config.head_dim // 2]}",
            hint=DAMAGED,
        )


def check_context(asked: int, known: int, where: str) -> int:
    """Tokens of context. Beyond what it was trained on RoPE gives angles that the model never saw: nonsense.

    Args:
        asked: `--context`; 0 takes what is known.
        known: what the model was made for.
        where: the file or folder, for errors.

    Raises:
        ModelError: more is asked for.
    """
    if asked > known:
        raise ModelError(
            f"{where} was made for a context of {known:,} tokens, not of {asked:,}",
            hint=f"Take --context {known} at most, or leave it out.",
        )
    return asked or known


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor that the network needs, by its name in GGUF."""
    query_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (config.vocab_size, config.dim),
        OUTPUT_NORM: (config.dim,),
    }
    if not config.tied_output:
        shapes[OUTPUT] = (config.vocab_size, config.dim)
    for layer in range(config.n_layers):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (config.dim,),
            f"blk.{layer}.attn_q.weight": (query_dim, config.dim),
            f"blk.{layer}.attn_k.weight": (kv_dim, config.dim),
            f"blk.{layer}.attn_v.weight": (kv_dim, config.dim),
            f"blk.{layer}.attn_output.weight": (config.dim, query_dim),
            f"blk.{layer}.ffn_norm.weight": (config.dim,),
            f"blk.{layer}.ffn_gate.weight": (config.ffn_dim, config.dim),
            f"blk.{layer}.ffn_up.weight": (config.ffn_dim, config.dim),
            f"blk.{layer}.ffn_down.weight": (config.dim, config.ffn_dim),
        }
    return shapes
