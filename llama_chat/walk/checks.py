"""What can be refused before anything is computed; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_chat.errors import PromptError, UsageError
from llama_chat.events import Text

if TYPE_CHECKING:
    from llama_chat.engine.config import LlamaConfig
    from llama_chat.engine.vocabulary.tokenizer import Tokenizer

MOST_TOKENS = 2000
"""Of a text: attention has the square of it in numbers, and no screen shows more."""


def ids_of(tokenizer: Tokenizer, text: str | Sequence[int]) -> tuple[int, ...]:
    """The ids of a raw text; of ids, themselves."""
    return tuple(tokenizer.encode_pieces([Text(text)]) if isinstance(text, str) else text)


def check_ids(ids: Sequence[int], config: LlamaConfig, context_length: int = 0) -> None:
    """Make sure that the ids can be walked with.

    Args:
        ids: of the text.
        config: of the model.
        context_length: in use, where it is not the model's own.

    Raises:
        PromptError: there are none, too many, or one that the model does not have.
    """
    if not ids:
        raise PromptError("The text has no tokens.", hint="Give some words.")
    context = context_length or config.context_length
    if len(ids) > min(MOST_TOKENS, context):
        limit = f"the context has {context:,}" if context < MOST_TOKENS else f"a walk takes {MOST_TOKENS:,}"
        raise PromptError(f"The text has {len(ids):,} tokens; {limit}.", hint="Give a part of the text.")
    wrong = next((token_id for token_id in ids if not 0 <= token_id < config.vocab_size), None)
    if wrong is not None:
        raise PromptError(
            f"There is no token {wrong}; the model has the tokens 0 to {config.vocab_size - 1}."
        )


def check_layer_and_head(config: LlamaConfig, layer: int, head: int) -> None:
    """Raises `UsageError` where the model has no such layer or head; both count from 0."""
    for what, value, count in (("layer", layer, config.n_layers), ("head", head, config.n_heads)):
        if not 0 <= value < count:
            raise UsageError(
                f"There is no {what} {value + 1}: the model has {count:,} {what}{'s' * (count > 1)}.",
                hint=f"Give --{what} 1 to {count}." if count > 1 else f"Leave --{what} out.",
            )
