"""GGUF's names for the tensors of a Llama in the other formats, so that one glob means them everywhere."""

from __future__ import annotations

from llama_chat.engine.files import hf_weights, meta


def gguf_name(name: str) -> str:
    """GGUF's name for a tensor of Hugging Face's or Meta's Llamas; the name itself where it has none."""
    return hf_weights.gguf_name(name) or meta.canonical_name(name) or name
