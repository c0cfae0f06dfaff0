"""Random Llamas as Hugging Face folders: config.json, safetensors in one or several files, tokenizer.json."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import TinyModel, TinyVocabulary

from llama_chat.engine.files.hf_weights import INDEX_NAME, hf_name

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TinyHF:
    """What to write: the weights, tokens and template of a `TinyModel`, which writes the same as GGUF."""

    model: TinyModel = field(default_factory=TinyModel)
    dtype: str = "F32"
    shards: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)
    """More fields of config.json, or others; None leaves one out."""
    generation: Mapping[str, Any] | None = None
    """generation_config.json, where there is to be one."""
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """More tensors, by their own names."""

    def write(self, folder: Path) -> Path:
        """The folder, now with a model in it."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", self.config_json())
        if self.generation is not None:
            write_json(folder / "generation_config.json", self.generation)
        write_tokenizer(folder, self.model.vocabulary, self.model.chat_template)
        tensors = self.tensors()
        if self.shards == 1:
            write_safetensors(folder / "model.safetensors", tensors)
        else:
            write_shards(folder, tensors, self.shards)
        return folder

    def config_json(self) -> dict[str, Any]:
        """What config.json says."""
        model = self.model
        said = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": model.dim,
            "intermediate_size": model.ffn_dim,
            "num_hidden_layers": model.n_layers,
            "num_attention_heads": model.n_heads,
            "num_key_value_heads": model.n_kv_heads,
            "vocab_size": len(model.vocabulary.tokens),
            "max_position_embeddings": model.context_length,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": model.tied,
            "bos_token_id": model.vocabulary.tokens.index("<|im_start|>"),
            "eos_token_id": model.vocabulary.tokens.index("<|im_end|>"),
        } | dict(self.config)
        return {key: value for key, value in said.items() if value is not None}

    def tensors(self) -> dict[str, torch.Tensor]:
        """By transformers' names, queries and keys in halves, as transformers turns them."""
        found = {}
        for name, values in self.model.arrays().items():
            tensor = torch.from_numpy(np.array(values))
            if name.endswith(("attn_q.weight", "attn_k.weight")):
                tensor = in_halves(tensor, self.model.dim // self.model.n_heads)
            found[hf_name(name)] = tensor.to(_DTYPES[self.dtype])
        return found | dict(self.extra)


def in_halves(rows: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Rows of neighbouring pairs in the order in which transformers wants them."""
    return rows.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def write_json(path: Path, content: Any) -> None:
    """The content as a file."""
    path.write_text(json.dumps(content), encoding="utf-8")


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """The path, now with those tensors, by the format's own library."""
    from safetensors.torch import save_file

    save_file(dict(tensors), path, metadata={"format": "pt"})
    return path


def write_shards(folder: Path, tensors: Mapping[str, torch.Tensor], count: int) -> None:
    """The tensors dealt out to that many files, and an index."""
    weight_map = {}
    for number in range(count):
        file_name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[number::count])
        write_safetensors(folder / file_name, part)
        weight_map |= dict.fromkeys(part, file_name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / INDEX_NAME, {"metadata": {"total_size": size}, "weight_map": weight_map})


def safetensors_image(
    header: Mapping[str, Any] | bytes, data: bytes = b"", length: int | None = None
) -> bytes:
    """A safetensors file, byte for byte; the length may lie."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def write_tokenizer(
    folder: Path, vocabulary: TinyVocabulary, chat_template: str | None, *, single_digits: bool = False
) -> None:
    """tokenizer.json and tokenizer_config.json."""
    controls = [
        (i, token)
        for i, (token, type_) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if type_ == 3
    ]
    added = [
        {
            "id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True,
        }
        for i, token in controls
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]}
        if single_digits
        else byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(vocabulary.tokens)},
            "merges": [merge.split(" ") for merge in vocabulary.merges],
        },
    }
    write_json(folder / "tokenizer.json", content)
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": False}
    if chat_template is not None:
        config["chat_template"] = chat_template
    write_json(folder / "tokenizer_config.json", config)
