"""transformers' Llama with the weights of a `Checkpoint`: both engines see the same numbers.

The library's own readers are not needed for it: they know nothing of Meta's folders, take 25 s for the
default model's GGUF file, and leave out `rope_freqs.weight` (5.23, 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from llama_chat.engine.config import LlamaConfig, expected_shapes
from llama_chat.engine.files.checkpoint import ROPE_DIVISORS, Checkpoint
from llama_chat.engine.files.hf_weights import hf_name

_SLICE_ROWS = 4096


def build_skeleton(config: LlamaConfig) -> Any:
    """The library's Llama of that size, its weights without memory."""
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(library_config(config)).eval()


def library_config(config: LlamaConfig) -> Any:
    """The sizes in the library's own words."""
    from transformers import LlamaConfig as LibraryConfig

    return LibraryConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.dim,
        intermediate_size=config.ffn_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.context_length,
        rms_norm_eps=config.norm_eps,
        rope_parameters=_rope_parameters(config),
        tie_word_embeddings=config.tied_output,
        bos_token_id=None,
        eos_token_id=None,
    )


def _rope_parameters(config: LlamaConfig) -> dict[str, Any]:
    base: dict[str, Any] = {"rope_theta": config.rope_theta}
    scaling = config.rope_scaling
    if scaling is not None:
        return base | {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_context,
        }
    if config.rope_divisor != 1:
        return base | {"rope_type": "linear", "factor": config.rope_divisor}
    return base | {"rope_type": "default"}


def fill(
    model: Any,
    checkpoint: Checkpoint,
    config: LlamaConfig,
    dtype: torch.dtype,
    device_of: Callable[[str], torch.device],
    report: Callable[[float], None] = lambda _: None,
) -> None:
    """Give the skeleton its weights.

    Args:
        model: from `build_skeleton`.
        checkpoint: opened, its tensors fit the config.
        config: its sizes.
        dtype: of the weights.
        device_of: where a parameter of that name goes.
        report: hears the fraction that is done.

    Raises:
        ModelError: a tensor is of a type that cannot be unpacked.
    """
    names = tensor_names(config)
    total = sum(checkpoint.tensors[name].nbytes for name in names.values())
    done = 0
    state: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        report(done / total)
        state[theirs] = _weight(checkpoint, config, ours, dtype, device_of(theirs))
        done += checkpoint.tensors[ours].nbytes
    if config.tied_output:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()  # two parameters over one tensor otherwise, which would be counted twice
    model.requires_grad_(False)
    _fill_rope(model, checkpoint, config, device_of("model.rotary_emb.inv_freq"))
    report(1.0)


def tensor_names(config: LlamaConfig) -> Mapping[str, str]:
    """The library's name of every weight, and GGUF's."""
    return {hf_name(ours): ours for ours in expected_shapes(config)}


def _weight(
    checkpoint: Checkpoint, config: LlamaConfig, name: str, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The whole tensor; queries and keys in halves, as the library's RoPE turns them."""
    rows = checkpoint.tensors[name].shape[0]
    in_halves = name.endswith(("attn_q.weight", "attn_k.weight"))
    out = torch.empty(checkpoint.tensors[name].shape, dtype=dtype, device=device)
    # [heads, half, pair, D] of the library's rows, seen in the order of ours: [heads, pair, half, D].
    view = out.view(-1, 2, config.head_dim // 2, out.shape[-1]).transpose(1, 2) if in_halves else out
    step = max(1, _SLICE_ROWS // config.head_dim) * config.head_dim
    for start, stop in _stretches(rows, step):
        part = checkpoint.values(name, start, stop)
        if in_halves:
            heads = slice(start // config.head_dim, stop // config.head_dim)
            view[heads] = part.view(-1, config.head_dim // 2, 2, out.shape[-1]).to(dtype)
        else:
            out[start:stop] = part
    checkpoint.forget(name)
    return out


def _stretches(rows: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + step, rows)) for start in range(0, rows, step))


def _fill_rope(model: Any, checkpoint: Checkpoint, config: LlamaConfig, device: torch.device) -> None:
    """RoPE's frequencies, which no file has: the library's own, divided by what GGUF has of them."""
    rotary = type(model.model.rotary_emb)(config=model.config).to(device)
    divisors = torch.ones(config.head_dim // 2)
    if ROPE_DIVISORS in checkpoint.tensors:
        divisors = checkpoint.values(ROPE_DIVISORS).float()
    if config.rope_scaling is not None and config.rope_divisor != 1:
        divisors = divisors * config.rope_divisor
    rotary.inv_freq = rotary.inv_freq / divisors.to(rotary.inv_freq.device)
    rotary.original_inv_freq = rotary.inv_freq
    model.model.rotary_emb = rotary
