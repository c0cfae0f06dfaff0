"""The seam between the formats of weights and the network: names, shapes and rows, whatever file they lie in.

Names are those of GGUF (`blk.0.attn_q.weight`), shapes are torch's (rows first), and the rows of queries and
keys are in the order of Meta's checkpoints: RoPE turns neighbouring pairs. Needs no torch until values are
asked for.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from llama_chat.catalogue import GIVE_A_MODEL
from llama_chat.errors import ModelError
from llama_chat.hub.names import snapshot_name
from llama_chat.shelves.ollama import blob_name

if TYPE_CHECKING:
    from enum import IntEnum

    from torch import Tensor

Format: TypeAlias = Literal["gguf", "safetensors", "meta"]

DAMAGED = "The file is damaged or not complete; fetch it again."
MISSING = "It belongs to the model: fetch it from where the weights came from, into the same folder."

OTHER_ENGINE = "The transformers engine may run it: --engine hf."

EMBEDDING = "token_embd.weight"
OUTPUT_NORM = "output_norm.weight"
OUTPUT = "output.weight"
ROPE_DIVISORS = "rope_freqs.weight"
"""Llama 3.1 and later divide RoPE's frequencies by it, pair by pair; a tensor in GGUF only."""

PLAIN_TYPES = frozenset({"F64", "F32", "F16", "BF16"})
"""Types whose values lie there one by one; everything else is quantised."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor as its file has it."""

    name: str
    """GGUF's name for it."""
    shape: tuple[int, ...]
    """In torch's order: rows first, the contiguous dimension last."""
    type_name: str
    """`BF16`, `F32`, `Q4_1`."""
    nbytes: int
    """In the file."""
    source_name: str = ""
    """What the file itself calls it, where that is another name."""


class Blocks(NamedTuple):
    """A quantised tensor as it lies in the file."""

    raw: Tensor
    """uint8 [rows, bytes of a row]; a view of the mapped file."""
    type: IntEnum
    width: int
    """Values in a row."""


class Checkpoint(Protocol):
    """The weights of one model. Opening reads headers only."""

    @property
    def path(self) -> Path:
        """What a user would give as `--model`."""
        ...

    @property
    def format(self) -> Format:
        """How it is stored."""
        ...

    @property
    def tensors(self) -> Mapping[str, Stored]:
        """Every tensor, by GGUF's name for it (by its own, where it has no place in a Llama)."""
        ...

    def values(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """The rows from `start` up to `stop` on the CPU: in the file's own dtype, f32 where it is quantised.

        May be a view of the mapped file: copy what is to live longer.

        Raises:
            ModelError: no such tensor, or a type that cannot be unpacked.
        """
        ...

    def blocks(self, name: str) -> Blocks | None:
        """The tensor's quantised blocks; None where its values lie there one by one."""
        ...

    def forget(self, name: str) -> None:
        """Give back the memory that reading the tensor took; what is wanted again is read again."""
        ...

    def fingerprint(self) -> str:
        """Names these weights: 16 digits of a hash over headers, sizes and some bytes of every tensor."""
        ...


def shown(name: str) -> str:
    """A name out of the file as an error may show it: short, in one line, nothing that a terminal obeys."""
    return name if name.isprintable() and len(name) <= 80 else f"{name[:80]!r}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first of the names for an error, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


_HINTS = {
    errno.EACCES: "You may not read it: change its permissions (chmod), or those of a folder above it.",
    errno.EPERM: "You may not read it: change its permissions (chmod), or those of a folder above it.",
    errno.ENAMETOOLONG: GIVE_A_MODEL,
    errno.EISDIR: "A file is wanted there, not a folder.",
    errno.EIO: "The disk reports an error; fetch the file again, to another disk.",
}


def unreadable(path: Path, error: OSError | ValueError) -> ModelError:
    """The error for a file or folder that the system would not give."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT and path.is_symlink():
        return ModelError(f"{path}: is a link to {path.readlink()}, which is not there", hint=MISSING)
    hint = MISSING if code == errno.ENOENT else _HINTS.get(code or 0, "")
    return ModelError(f"{path}: cannot be read: {reason}", hint=hint)


def dominant_type(tensors: Iterable[Stored]) -> str:
    """The type that most bytes of the matrices are in: `Q4_1`."""
    nbytes: Counter[str] = Counter()
    for stored in tensors:
        if len(stored.shape) > 1:
            nbytes[stored.type_name] += stored.nbytes
    return nbytes.most_common(1)[0][0] if nbytes else "F32"


_TYPE_ENDING = re.compile(r"[.-](?:I?Q\d\w*|TQ\d\w*|MXFP4|BF16|F16|F32)$", re.IGNORECASE)


def model_name(path: Path) -> str:
    """The name of a file or folder without its ending and its quantised type, which is shown beside it.

    A snapshot in the Hub's cache is called by its repository, not by its commit; a blob of Ollama's by the
    model that it belongs to.
    """
    if name := snapshot_name(path) or blob_name(path):
        return name
    stem = path.stem if path.suffix.lower() in (".gguf", ".pth", ".safetensors") else path.name
    return _TYPE_ENDING.sub("", stem) or stem
