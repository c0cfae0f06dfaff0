"""What was found at a path: tensors, metadata, tokenizers and totals, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

SLICE_VALUES = 1 << 20
"""Values of a tensor that are held at a time: 8 MB as f64, which stays in the processor's cache."""

SPECIAL_TYPES = (2, 3, 4)
"""GGUF's and SentencePiece's types of tokens that are no ordinary text: unknown, control, user-defined."""

Slices: TypeAlias = "Iterator[np.ndarray[Any, np.dtype[Any]]]"
"""The values of a tensor in their order, flat, some at a time."""


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor as its file has it."""

    name: str
    gguf_name: str
    """GGUF's name for it; its own, where GGUF has none."""
    shape: tuple[int, ...]
    """Rows first, the contiguous dimension last."""
    type_name: str
    """`BF16`, `Q4_1`, `type 99` for one that is not known."""
    nbytes: int
    file: str
    """Name of the file that it lies in, or the first of its shares."""
    shares: int = 1
    """Files that have a share of it, which are put together as the engine does: Meta's shards."""

    @property
    def parameters(self) -> int:
        """Numbers in it."""
        return prod(self.shape)

    def fits(self, glob: str) -> bool:
        """Whether its own name, or GGUF's for it, is one of those that the glob means."""
        return fnmatchcase(self.name, glob) or fnmatchcase(self.gguf_name, glob)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over tensors; None where they cannot be told from names and shapes."""

    parameters: int
    nbytes: int
    read_bytes_per_token: int | None
    """Bytes of weights that a decode step reads; of the embedding one row."""
    kv_bytes_per_token: int | None
    """Bytes that the cache keeps for every token, in a type of 16 bits."""


@dataclass(frozen=True, slots=True)
class Part:
    """The tensors of one file, or of the files that one model is split over."""

    format: str
    """`GGUF`, `safetensors`, `PyTorch`."""
    files: tuple[Path, ...]
    tensors: tuple[TensorRow, ...]
    metadata: Mapping[str, Any]
    totals: Totals
    slices: Callable[[TensorRow], Slices]
    """Reads a tensor; raises `ModelError` where its type cannot be unpacked."""
    file_count: int = 1
    """Files of the whole model: more than `files`, where some are missing or were not asked for."""
    merged: tuple[TensorRow, ...] = ()
    """The tensors put together, where several files have shares of them; `slices` reads these, too."""
    notices: tuple[str, ...] = ()
    """Why they cannot be put together."""

    @property
    def is_whole(self) -> bool:
        """Whether these are all files of the model."""
        return len(self.files) >= self.file_count


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What a tokenizer's file says of it."""

    file: str
    kind: str
    """`byte-pair (gpt2)`, `SentencePiece`, `BPE`."""
    size: int
    """Tokens, control tokens included."""
    special_tokens: Mapping[str, int]
    pattern: str | None
    """How text is cut before the merges, as a regular expression or by its name."""
    bos_id: int | None
    end_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that lies at a path."""

    path: Path
    parts: tuple[Part, ...] = ()
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON files such as config.json and params.json, by name."""
    tokenizers: tuple[TokenizerFacts, ...] = ()
    notices: tuple[str, ...] = ()
    """Parts that are missing, shards that do not fit together."""
    problems: tuple[str, ...] = ()
    """Why files could not be read."""

    def matching(self, globs: Sequence[str]) -> list[tuple[Part, TensorRow]]:
        """The tensors that any of the globs means, in the order of the files; merged where they can be."""
        return [
            (part, row)
            for part in self.parts
            for row in part.merged or part.tensors
            if any(row.fits(glob) for glob in globs)
        ]
