"""The sizes of a model in Meta's format: off its tensors, and out of `params.json` what those do not say.

Tensors tell the width, the layers, the vocabulary and the feed-forward; not into how many heads the rows are
cut, nor how RoPE turns. Where there is no `params.json`, the models whose shapes are known have it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llama_chat.engine.config import OTHER_ENGINE, LlamaConfig, RopeScaling, check_config
from llama_chat.engine.files.checkpoint import (
    DAMAGED,
    EMBEDDING,
    OUTPUT,
    OUTPUT_NORM,
    Stored,
)
from llama_chat.errors import ModelError, NotOursError

PARAMS = "params.json"
_PUT_IT_THERE = f"Put the {PARAMS} that came with the weights beside them."

LLAMA3_THETA = 500_000.0
LLAMA3_EPS = 1e-5
LLAMA3_CONTEXT = 8192
LLAMA31_CONTEXT = 131_072

# Meta's code scales by 8 whatever the model (llama-models issue 241), but Llama 3.2's 1B and 3B were made
# with 32, as the `config.json` that Meta published for them says. `params.json` has no figure at all.
_FACTOR = 8.0
_FACTOR_OF_WIDTH = {2048: 32.0, 3072: 32.0}


@dataclass(frozen=True, slots=True)
class _Shapes:
    """What tensors say."""

    dim: int
    n_layers: int
    query_rows: int
    kv_rows: int
    ffn_dim: int
    vocab_size: int


@dataclass(frozen=True, slots=True)
class _Known:
    """A model that is told by its shapes."""

    title: str
    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    ffn_dim: int
    is_scaled: bool

    def fits(self, shapes: _Shapes) -> bool:
        """Whether the tensors are of that model, or of one cut to its first layers."""
        kv_rows = self.dim // self.n_heads * self.n_kv_heads
        mine = (self.dim, self.dim, kv_rows, self.ffn_dim, _LLAMA3_VOCAB)
        theirs = (shapes.dim, shapes.query_rows, shapes.kv_rows, shapes.ffn_dim, shapes.vocab_size)
        return mine == theirs and shapes.n_layers <= self.n_layers


_LLAMA3_VOCAB = 128_256
_KNOWN = (
    _Known("Llama 3 8B", 4096, 32, 32, 8, 14336, is_scaled=False),
    _Known("Llama 3 70B", 8192, 80, 64, 8, 28672, is_scaled=False),
    _Known("Llama 3.1 405B", 16384, 126, 128, 8, 53248, is_scaled=True),
    _Known("Llama 3.1 405B", 16384, 126, 128, 16, 53248, is_scaled=True),
    _Known("Llama 3.2 1B", 2048, 16, 32, 8, 8192, is_scaled=True),
    _Known("Llama 3.2 3B", 3072, 28, 24, 8, 8192, is_scaled=True),
)


def config_from_meta(
    tensors: Mapping[str, Stored], params: Mapping[str, Any] | None, where: str, shard_count: int = 1
) -> tuple[LlamaConfig, list[str]]:
    """The sizes of the network, and what the user should know of how they were found.

    Args:
        tensors: of the checkpoint, all shards together.
        params: what `params.json` has; None where there is none.
        where: the folder or file, for errors and notices.
        shard_count: for errors.

    Raises:
        ModelError: a tensor is missing or does not fit, `params.json` has impossible values or is of another
            family, or there is none and the shapes are not known.
    """
    shapes = _read_shapes(tensors, where)
    if shapes.query_rows != shapes.dim:
        raise ModelError(
            f"{where}: the queries have {shapes.query_rows:,} rows in {shard_count} of the shards, "
            f"wanted {shapes.dim:,}",
            hint="A shard seems to be missing: fetch the whole set of consolidated.*.pth.",
        )
    known = next((model for model in _KNOWN if model.fits(shapes)), None)
    if params is None:
        config, notices = _config_of_known(shapes, known, where)
    else:
        config, notices = _Params(params, where).config(shapes, known)
    config = replace(config, tied_output=OUTPUT not in tensors)
    check_config(config, tensors, where)
    return config, notices


def _read_shapes(tensors: Mapping[str, Stored], where: str) -> _Shapes:
    """Off the first layer; `check_config` holds the others against it."""

    def rows(name: str) -> int:
        if name not in tensors:
            raise ModelError(f"{where}: there is no tensor {name!r}", hint=DAMAGED)
        shape = tensors[name].shape
        if not shape or not all(shape):
            raise ModelError(f"{where}: {tensors[name].source_name or name} is empty", hint=DAMAGED)
        return shape[0]

    layers = {int(name.split(".")[1]) for name in tensors if name.startswith("blk.")}
    return _Shapes(
        dim=rows(OUTPUT_NORM),
        n_layers=max(layers, default=0) + 1,
        query_rows=rows("blk.0.attn_q.weight"),
        kv_rows=rows("blk.0.attn_k.weight"),
        ffn_dim=rows("blk.0.ffn_gate.weight"),
        vocab_size=rows(EMBEDDING),
    )


def _config_of_known(shapes: _Shapes, known: _Known | None, where: str) -> tuple[LlamaConfig, list[str]]:
    if known is None:
        raise ModelError(
            f"{where}: there is no {PARAMS}, and no Llama 3 has these shapes (width {shapes.dim:,}, "
            f"{shapes.kv_rows:,} key rows, feed-forward {shapes.ffn_dim:,}, {shapes.vocab_size:,} tokens)",
            hint=_PUT_IT_THERE,
        )
    newer = "" if known.is_scaled else f"; if it is a later one (3.1, 3.3), put its {PARAMS} beside it"
    layers = f", cut to {shapes.n_layers} of its {known.n_layers} layers"
    notice = (
        f"{where}: there is no {PARAMS}; by its shapes this is {known.title}"
        f"{layers if shapes.n_layers < known.n_layers else ''}{newer}."
    )
    return _config(shapes, known.n_heads, known.n_kv_heads, is_scaled=known.is_scaled), [notice]


def _config(
    shapes: _Shapes,
    n_heads: int,
    n_kv_heads: int,
    *,
    is_scaled: bool,
    norm_eps: float = LLAMA3_EPS,
    rope_theta: float = LLAMA3_THETA,
) -> LlamaConfig:
    factor = _FACTOR_OF_WIDTH.get(shapes.dim, _FACTOR)
    return LlamaConfig(
        dim=shapes.dim,
        n_layers=shapes.n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=shapes.dim // n_heads,
        ffn_dim=shapes.ffn_dim,
        vocab_size=shapes.vocab_size,
        context_length=LLAMA31_CONTEXT if is_scaled else LLAMA3_CONTEXT,
        norm_eps=norm_eps,
        rope_theta=rope_theta,
        tied_output=False,
        rope_scaling=RopeScaling(factor) if is_scaled else None,
    )


class _Params:
    """The values of a `params.json`, each checked when it is asked for."""

    def __init__(self, params: Mapping[str, Any], where: str) -> None:
        self._params = params
        self._where = where
        if params.get("quantization_args"):
            raise self._wrong(
                "describes weights of few bits, which cannot be read",
                "Take the bfloat16 checkpoint; --dtype int8 or int4 makes few bits of it.",
            )
        other = [key for key in ("moe_args", "vision_args", "vision_model") if params.get(key)]
        if other or (params.get("vision_chunk_size") or -1) != -1:
            raise NotOursError(
                f"{where}: its {PARAMS} is of another family than the text models of Llama 2 and 3",
                hint=OTHER_ENGINE,
            )

    def _wrong(self, what: str, hint: str = _PUT_IT_THERE) -> ModelError:
        return ModelError(f"{self._where}: its {PARAMS} {what}", hint=hint)

    def _count(self, key: str) -> int | None:
        value = self._params.get(key)
        if value is None or value == -1:  # -1: Meta's way to say "as the tokenizer has it"
            return None
        if type(value) is not int or not 1 <= value <= 1 << 24:
            raise self._wrong(f"says {key} is {str(value)[:40]!r}")
        return value

    def _number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._params.get(key)
        if value is None:
            return default
        if type(value) not in (int, float) or not least <= value <= most:
            raise self._wrong(f"says {key} is {str(value)[:40]!r}")
        return float(value)

    def _flag(self, key: str) -> bool:
        value = self._params.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(f"says {key} is {str(value)[:40]!r}")
        return value

    def config(self, shapes: _Shapes, known: _Known | None) -> tuple[LlamaConfig, list[str]]:
        """The sizes: the tensors' where they can say them, the file's for the rest.

        Raises:
            ModelError: the file has impossible values, or heads that do not fit the tensors.
        """
        n_heads, n_kv_heads, notices = self._heads(shapes, known)
        config = _config(
            shapes,
            n_heads,
            n_kv_heads,
            is_scaled=self._flag("use_scaled_rope"),
            norm_eps=self._number("norm_eps", LLAMA3_EPS, 1e-12, 1.0),
            rope_theta=self._number("rope_theta", LLAMA3_THETA, 1.0, 1e12),
        )
        return config, self._disagreements(shapes) + notices

    def _heads(self, shapes: _Shapes, known: _Known | None) -> tuple[int, int, list[str]]:
        n_heads = self._count("n_heads")
        n_kv_heads = self._count("n_kv_heads") or n_heads
        if n_heads is not None and n_kv_heads is not None and _heads_fit(shapes, n_heads, n_kv_heads):
            return n_heads, n_kv_heads, []
        said = f"{n_heads} heads and {n_kv_heads} key/value heads"
        if known is not None:
            notice = (
                f"{self._where}: its {PARAMS} says {said}, which do not fit the tensors of {known.title}."
            )
            return known.n_heads, known.n_kv_heads, [notice]
        raise self._wrong(
            f"says {said}, but the queries have {shapes.query_rows:,} rows and the keys {shapes.kv_rows:,}"
        )

    def _disagreements(self, shapes: _Shapes) -> list[str]:
        """A notice where the file says other sizes than the tensors have."""
        said = {
            "layers": (self._count("n_layers"), shapes.n_layers),
            "width": (self._count("dim"), shapes.dim),
            "tokens": (self._count("vocab_size"), shapes.vocab_size),
            "feed-forward": (self._ffn_dim(), shapes.ffn_dim),
        }
        odd = [f"{what} {a:,}, not {b:,}" for what, (a, b) in said.items() if a is not None and a != b]
        return (
            [f"{self._where}: its {PARAMS} disagrees with the tensors, which count: {_listed(odd)}."]
            if odd
            else []
        )

    def _ffn_dim(self) -> int | None:
        """Meta's reckoning of the width of the feed-forward."""
        dim, multiple = self._count("dim"), self._count("multiple_of")
        factor = self._number("ffn_dim_multiplier", 1.0, 1e-3, 1e3)
        if dim is None or multiple is None:
            return None
        return -(-int(factor * int(8 * dim / 3)) // multiple) * multiple


def _heads_fit(shapes: _Shapes, n_heads: int, n_kv_heads: int) -> bool:
    """Whether queries and keys can be cut into so many heads of one even size, shared evenly."""
    head_dim = shapes.query_rows // n_heads
    return (
        head_dim * n_heads == shapes.query_rows
        and head_dim * n_kv_heads == shapes.kv_rows
        and n_heads % n_kv_heads == 0
        and head_dim % 2 == 0
    )


def _listed(parts: Sequence[str]) -> str:
    return "; ".join(parts)
