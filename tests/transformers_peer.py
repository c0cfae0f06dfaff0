"""transformers' Llama with the weights of a GGUF file: the oracle of parity tests and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf.constants import GGMLQuantizationType as GGMLType
from gguf.quants import dequantize
from torch import Tensor

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.gguf import GGUFFile
from llama_chat.engine.files.gguf_model import config_from_gguf

_OF_MODEL = {"embed_tokens": "token_embd", "norm": "output_norm"}
_OF_LAYER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def load_peer(path: Path, dtype: torch.dtype = torch.float32) -> Any:
    """By transformers' own reader, which takes 25 s for the default model (it parses the header thrice)."""
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=dtype,
        local_files_only=True,
    ).eval()


def build_peer(path: Path, dtype: torch.dtype = torch.float32, n_layers: int | None = None) -> Any:
    """The same in 2 s; `n_layers` cuts it to its first layers."""
    from transformers import LlamaConfig as PeerConfig
    from transformers import LlamaForCausalLM

    file = GGUFFile(path)
    config = config_from_gguf(file)
    n_layers = n_layers or config.n_layers
    sizes = PeerConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.dim,
        intermediate_size=config.ffn_dim,
        num_hidden_layers=n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.context_length,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tied_output,
    )
    names = {f"model.{peer}.weight": f"{ours}.weight" for peer, ours in _OF_MODEL.items()}
    for i in range(n_layers):
        names |= {
            f"model.layers.{i}.{peer}.weight": f"blk.{i}.{ours}.weight" for peer, ours in _OF_LAYER.items()
        }
    state = {peer: _values(file, config, ours).to(dtype) for peer, ours in names.items()}
    embedding = state["model.embed_tokens.weight"]
    state["lm_head.weight"] = (
        embedding if config.tied_output else _values(file, config, "output.weight").to(dtype)
    )
    with torch.device("meta"):  # random weights first would take longer than all the rest
        model = LlamaForCausalLM(sizes)
    model.load_state_dict(state, strict=True, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(config=sizes)
    return model.eval()


def _values(file: GGUFFile, config: LlamaConfig, name: str) -> Tensor:
    info, blocks = file.tensors[name], file.blocks(name).numpy()
    values = blocks.view(np.float32) if info.type is GGMLType.F32 else dequantize(blocks, info.type)
    tensor = torch.from_numpy(np.array(values, dtype=np.float32)).reshape(info.shape)
    if name.endswith(("attn_q.weight", "attn_k.weight")):
        # GGUF turns neighbouring rows, transformers turns a row with the one half a head further on.
        return tensor.unflatten(0, (-1, config.head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)
    return tensor
