"""What a newcomer may fetch: a short list with sizes and licences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llama_chat.catalogue import DEFAULT


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a Llama: enough to tell what it takes in memory before anything of it is fetched."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    context_length: int
    is_tied: bool = True
    """Whether the output product is the token table."""

    @property
    def parameters(self) -> int:
        """Numbers in it."""
        attention = self.dim * self.head_dim * (2 * self.n_heads + 2 * self.n_kv_heads)
        layer = attention + 3 * self.dim * self.ffn_dim + 2 * self.dim
        return self.vocab_size * self.dim * (1 if self.is_tied else 2) + self.n_layers * layer + self.dim


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be fetched."""

    name: str
    """What `--model` takes."""
    title: str
    shape: ModelShape
    licence: str
    is_gated: bool = False
    """Whether its terms must be accepted on its page, and a token shown."""
    download_bytes: int = 0
    """0: two bytes for every parameter."""
    type_name: str = "BF16"
    """What its matrices are stored in."""
    table_type_name: str = "BF16"
    source: str = "the Hugging Face Hub"

    @property
    def bytes_to_fetch(self) -> int:
        """Of the download."""
        return self.download_bytes or 2 * self.shape.parameters

    @property
    def page(self) -> str:
        """Where a browser shows it; empty for what is not on the Hub."""
        return f"huggingface.co/{self.name}" if "/" in self.name else ""


_META = "Llama licence, by Meta"
OFFERS = (
    Offer(
        DEFAULT.name,
        DEFAULT.title,
        ModelShape(576, 30, 9, 3, 64, 1536, 49152, 8192),
        DEFAULT.licence,
        download_bytes=DEFAULT.download_bytes,
        type_name="Q4_1",
        table_type_name="Q8_0",
        source="the package index that pip uses",
    ),
    Offer(
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "SmolLM2-360M-Instruct",
        ModelShape(960, 32, 15, 5, 64, 2560, 49152, 8192),
        "Apache-2.0",
    ),
    Offer(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "SmolLM2-1.7B-Instruct",
        ModelShape(2048, 24, 32, 32, 64, 8192, 49152, 8192),
        "Apache-2.0",
    ),
    Offer(
        "meta-llama/Llama-3.2-1B-Instruct",
        "Llama-3.2-1B-Instruct",
        ModelShape(2048, 16, 32, 8, 64, 8192, 128256, 131072),
        _META,
        is_gated=True,
    ),
    Offer(
        "meta-llama/Llama-3.2-3B-Instruct",
        "Llama-3.2-3B-Instruct",
        ModelShape(3072, 28, 24, 8, 128, 8192, 128256, 131072),
        _META,
        is_gated=True,
    ),
    Offer(
        "meta-llama/Llama-3.1-8B-Instruct",
        "Llama-3.1-8B-Instruct",
        ModelShape(4096, 32, 32, 8, 128, 14336, 128256, 131072, is_tied=False),
        _META,
        is_gated=True,
    ),
)


def offers_beside(names: Iterable[str]) -> list[Offer]:
    """Those whose names are not among these."""
    known = {name.casefold() for name in names}
    return [offer for offer in OFFERS if offer.name.casefold() not in known]
