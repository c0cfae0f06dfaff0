"""What the files of a model come to, whatever their format."""

from __future__ import annotations

from dataclasses import dataclass, field

from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.files.checkpoint import Checkpoint
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.errors import ModelError


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model whose headers and tokenizer are read and checked."""

    name: str
    architecture: str
    """As its file calls it: `llama`."""
    checkpoint: Checkpoint
    config: LlamaConfig
    tokenizer: Tokenizer
    chat_template: str | None
    """Jinja source; None where the model starts raw."""
    notices: tuple[str, ...] = field(default=())
    """What the user should know: which of two formats was taken, what was missing or guessed."""


def check_vocabulary(tokenizer: Tokenizer, config: LlamaConfig, where: str) -> None:
    """Raises `ModelError` where the tokenizer has another number of tokens than the embedding has rows."""
    if len(tokenizer) != config.vocab_size:
        raise ModelError(
            f"{where}: {len(tokenizer):,} tokens, but {config.vocab_size:,} rows of embeddings",
            hint="The tokenizer belongs to another model.",
        )
