"""Text to ids by the `tokenizers` library, for what tiktoken cannot do (SentencePiece, other ways to cut)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_chat.errors import ModelError

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True, slots=True)
class Steps:
    """What happens to text before the merges, as tokenizer.json has it (None: nothing)."""

    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Merges:
    """A byte-pair model without its control tokens, so that no text can become one."""

    vocab: Mapping[str, int]
    pairs: Sequence[tuple[str, str]]
    """The first ones go first; parts and wholes are in the vocabulary."""
    byte_fallback: bool = False
    """Whether characters without a token become `<0xE2>` and the like."""
    ignore_merges: bool = False
    """Whether a stretch of text that is a token becomes that token, whatever the merges make of it."""


class LibraryEncoder:
    """Ordinary text to ids.

    Args:
        merges: the model.
        opening: the steps for text that begins a text, which may get a space in front.
        inside: the steps for all other text.
        where: the file, for errors.

    Raises:
        ModelError: the library refuses them.
    """

    def __init__(self, merges: Merges, opening: Steps, inside: Steps, where: str) -> None:
        from tokenizers import models  # 0.04 s to import (2026-11-22), and only some models need it

        self._where = where
        try:
            model = models.BPE(
                vocab=dict(merges.vocab),
                merges=list(merges.pairs),
                byte_fallback=merges.byte_fallback,
                ignore_merges=merges.ignore_merges,
            )
            self._inside = _with_steps(model, inside)
            self._opening = self._inside if opening == inside else _with_steps(model, opening)
        except BaseException as error:
            raise library_error(where, error, "cannot be used") from error

    def encode(self, text: str, *, is_first: bool) -> list[int]:
        """The ids; what the vocabulary has no token for is left out.

        Raises:
            ModelError: the library gives up, at a pattern that takes too long, say.
        """
        tokenizer = self._opening if is_first else self._inside
        try:
            return tokenizer.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            raise library_error(self._where, error, "fails at this text") from error


def library_error(where: str, error: BaseException, what: str) -> ModelError:
    """The error for one of the library's own, which may be a Rust panic: no `Exception` in Python.

    Args:
        where: the file.
        error: as it came.
        what: happened to the tokenizer, as the end of a sentence.

    Raises:
        BaseException: it is not the library's: Ctrl-C, the end of memory.
    """
    is_panic = type(error).__name__ == "PanicException"
    if isinstance(error, MemoryError) or not (isinstance(error, Exception) or is_panic):
        raise error
    reason = " ".join(str(error).split())[:200]
    return ModelError(f"{where}: the tokenizer {what}: {reason}")


def _with_steps(model: tokenizers.models.BPE, steps: Steps) -> tokenizers.Tokenizer:
    """The library's tokenizer. It knows of no added tokens: nothing in a text is taken for one."""
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_str(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": steps.normalizer,
                "pre_tokenizer": steps.pre_tokenizer,
                "model": {"type": "BPE", "vocab": {}, "merges": []},
            }
        )
    )
    tokenizer.model = model
    return tokenizer
