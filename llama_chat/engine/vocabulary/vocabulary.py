"""What a tokenizer is built from, whatever file it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

# Tokens that end a turn in the families that are served, beside those that the file itself names.
END_TEXTS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>")

SpaceBefore: TypeAlias = Literal["nothing", "start", "controls"]
"""What gets a space of its own before its first word, as SentencePiece has it: no text, text that begins all
(or follows the begin-of-text token), or text behind any control token, too.
"""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Every token of a model, and what its tokenizer must know of them."""

    pieces: Sequence[bytes]
    """Bytes of every id; control tokens by their text."""
    special_ids: Mapping[str, int]
    """Control and user-defined tokens: text to id."""
    hidden_ids: frozenset[int]
    """Control tokens, which are not shown in a reply."""
    end_ids: frozenset[int]
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool
    """Whether text begins with the begin-of-text id, unless the template wrote it."""
    space_before: SpaceBefore = "nothing"
    """Where there are such spaces, the one that begins a reply is part of its first token, but not shown."""


def end_ids_among(named: Iterable[int | None], special_ids: Mapping[str, int], count: int) -> frozenset[int]:
    """The ids that end a reply: those that the files name, and those whose text is known to.

    Args:
        named: by the files; ids that no token has are left out.
        special_ids: control and user-defined tokens, text to id.
        count: of the tokens.
    """
    ids = (*named, *map(special_ids.get, END_TEXTS))
    return frozenset(token_id for token_id in ids if token_id is not None and 0 <= token_id < count)
