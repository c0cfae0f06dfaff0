"""Tiny random models of other families, made and saved by transformers, with a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_hf import write_tokenizer
from tiny_models import CHATML, tiny_vocabulary

VOCABULARY = tiny_vocabulary()
N_TOKENS = len(VOCABULARY.tokens)
_SIZES = {
    "vocab_size": N_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": _SIZES,
    "mistral": _SIZES | {"sliding_window": 24, "head_dim": 16},
    "gemma3_text": _SIZES | {"sliding_window": 24, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gpt2": {"vocab_size": N_TOKENS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "mamba": {"vocab_size": N_TOKENS, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    "openai-gpt": {"vocab_size": N_TOKENS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512},
}
"""By `model_type`: what differs from the library's defaults."""


def write_family(folder: Path, model_type: str, template: str | None = CHATML, **changes: Any) -> Path:
    """The folder, now with a random model of that family; sizes that are no defaults in `changes`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = FAMILIES[model_type] | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0} | changes
    config = AutoConfig.for_model(model_type, **sizes)
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # so that logits are apart, and depend on what came before
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "A_log" not in name:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    write_tokenizer(folder, VOCABULARY, template)
    return folder
