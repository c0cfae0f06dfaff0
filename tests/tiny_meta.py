"""Random Llamas in Meta's format: shards of `consolidated.NN.pth`, `params.json` and `tokenizer.model`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llama_chat.engine.vocabulary.from_tiktoken import SPECIAL_COUNT

_WORDS = (
    "th",
    "the",
    " t",
    " th",
    " the",
    "in",
    "ing",
    "er",
    "on",
    "an",
    "and",
    "\n\n",
    "  ",
    "é",
    "12",
    "123",
)
_META_NAMES = {
    "attn_norm": "attention_norm", "attn_q": "attention.wq", "attn_k": "attention.wk",
    "attn_v": "attention.wv", "attn_output": "attention.wo", "ffn_norm": "ffn_norm",
    "ffn_gate": "feed_forward.w1", "ffn_down": "feed_forward.w2", "ffn_up": "feed_forward.w3",
}  # fmt: skip
FIRST_SHARD = "consolidated.00.pth"
_OUTSIDE = {"token_embd": "tok_embeddings", "output_norm": "norm", "output": "output"}


def meta_name(name: str) -> str:
    """Meta's name for what GGUF calls so."""
    if not name.startswith("blk."):
        return f"{_OUTSIDE[name.removesuffix('.weight')]}.weight"
    _, layer, what, _ = name.split(".")
    return f"layers.{layer}.{_META_NAMES[what]}.weight"


def tiktoken_lines(words: Sequence[str] = _WORDS) -> bytes:
    """A `tokenizer.model` of all bytes and a few words."""
    pieces = [*(bytes([byte]) for byte in range(256)), *(word.encode() for word in words)]
    lines = (base64.b64encode(piece) + b" %d" % rank for rank, piece in enumerate(dict.fromkeys(pieces)))
    return b"\n".join(lines) + b"\n"


TINY_VOCAB = tiktoken_lines().count(b"\n") + SPECIAL_COUNT


@dataclass(frozen=True, slots=True)
class TinyMeta:
    """What to write. Values are random unless they are given by GGUF's names."""

    dim: int = 64
    n_layers: int = 2
    n_heads: int = 8
    n_kv_heads: int = 4
    ffn_dim: int = 96
    vocab_size: int = TINY_VOCAB
    shards: int = 1
    tied: bool = False
    dtype: torch.dtype = torch.float32
    embedding_axis: int = 0
    """Llama 3 cuts the embedding by rows, Llama 2 by columns."""
    seed: int = 0
    values: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More entries of every shard, under Meta's names; None leaves one out."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """More entries of `params.json`, or others; None leaves one out."""
    tokenizer: bytes = field(default_factory=tiktoken_lines)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor by GGUF's name."""
        kv_rows, dim, ffn = self.dim // self.n_heads * self.n_kv_heads, self.dim, self.ffn_dim
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocab_size, dim)}
        for layer in range(self.n_layers):
            at = f"blk.{layer}."
            shapes |= {
                f"{at}attn_norm.weight": (dim,), f"{at}attn_q.weight": (dim, dim),
                f"{at}attn_k.weight": (kv_rows, dim), f"{at}attn_v.weight": (kv_rows, dim),
                f"{at}attn_output.weight": (dim, dim), f"{at}ffn_norm.weight": (dim,),
                f"{at}ffn_gate.weight": (ffn, dim), f"{at}ffn_up.weight": (ffn, dim),
                f"{at}ffn_down.weight": (dim, ffn),
            }  # fmt: skip
        shapes["output_norm.weight"] = (dim,)
        return shapes if self.tied else shapes | {"output.weight": (self.vocab_size, dim)}

    def whole(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by GGUF's name, in one piece."""
        rng = np.random.default_rng(self.seed)
        for name, shape in self.shapes.items():
            if len(shape) == 1:
                random = 1 + 0.1 * rng.standard_normal(shape, np.float32)
            else:
                size = 0.1 if name == "token_embd.weight" else shape[-1] ** -0.5
                random = rng.standard_normal(shape, np.float32) * size
            yield name, torch.from_numpy(np.array(self.values.get(name, random), np.float32)).to(self.dtype)

    def state_dicts(self) -> list[dict[str, Any]]:
        """What each shard holds."""
        found: list[dict[str, Any]] = [{} for _ in range(self.shards)]
        for name, tensor in self.whole():
            for shard, part in zip(found, self._shares(name, tensor), strict=True):
                shard[meta_name(name)] = part.clone()
        for shard in found:
            for name, value in self.extra.items():
                if value is None:
                    del shard[name]
                else:
                    shard[name] = value
        return found

    def _shares(self, name: str, tensor: Tensor) -> Sequence[Tensor]:
        if tensor.dim() == 1:
            return [tensor] * self.shards
        by_columns = name.endswith(("attn_output.weight", "ffn_down.weight"))
        axis = self.embedding_axis if name == "token_embd.weight" else int(by_columns)
        return tensor.chunk(self.shards, dim=axis)

    def write(self, folder: Path) -> Path:
        """The folder, now with the model in it."""
        folder.mkdir(parents=True, exist_ok=True)
        for n, shard in enumerate(self.state_dicts()):
            torch.save(shard, folder / f"consolidated.{n:02}.pth")
        (folder / "params.json").write_text(json.dumps(self.params_json()))
        (folder / "tokenizer.model").write_bytes(self.tokenizer)
        return folder

    def params_json(self) -> dict[str, Any]:
        """As Meta writes it; what it says of the feed-forward comes to this model's."""
        said = {
            "dim": self.dim, "n_layers": self.n_layers, "n_heads": self.n_heads,
            "n_kv_heads": self.n_kv_heads, "vocab_size": self.vocab_size, "norm_eps": 1e-5,
            "rope_theta": 10000.0, "multiple_of": self.ffn_dim,
            "ffn_dim_multiplier": 3 * self.ffn_dim / (8 * self.dim) * 0.999, "use_scaled_rope": False,
        }  # fmt: skip
        return {key: value for key, value in (said | dict(self.params)).items() if value is not None}


def write_changed(folder: Path, change: Callable[[dict[str, Any]], object], **fields: Any) -> Path:
    """The folder with a model whose one shard was changed before it was written."""
    tiny = TinyMeta(**fields)
    tiny.write(folder)
    (state,) = tiny.state_dicts()
    change(state)
    torch.save(state, folder / FIRST_SHARD)
    return folder
