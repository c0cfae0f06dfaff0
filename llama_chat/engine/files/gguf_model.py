"""A model in GGUF: its sizes out of the metadata, its tensors as a `Checkpoint`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llama_chat.engine.config import OTHER_ENGINE, LlamaConfig, check_config
from llama_chat.engine.files.checkpoint import (
    DAMAGED,
    EMBEDDING,
    OUTPUT,
    PLAIN_TYPES,
    Blocks,
    Format,
    Stored,
    shown,
)
from llama_chat.engine.files.gguf import GGUFFile, TensorInfo
from llama_chat.engine.files.pages import forget_pages
from llama_chat.errors import ModelError, NotOursError

if TYPE_CHECKING:
    from torch import Tensor

# What GGUF calls the network that is written here.
SCRATCH_ARCHITECTURES = ("llama",)


class GGUFCheckpoint:
    """The tensors of a GGUF model, in one file or split over several.

    Args:
        files: opened; the first has the metadata.
    """

    format: Format = "gguf"

    def __init__(self, files: Sequence[GGUFFile]) -> None:
        self.files = files
        self._file_of: dict[str, GGUFFile] = {}
        self._fingerprint = ""
        for file in files:
            for name in file.tensors:
                if name in self._file_of:
                    raise ModelError(f"{file.path.name}: {shown(name)} is in another part, too", hint=DAMAGED)
                self._file_of[name] = file
        self.tensors: Mapping[str, Stored] = {
            name: _stored(file.tensors[name]) for name, file in self._file_of.items()
        }

    @property
    def path(self) -> Path:
        """The file, or the first of them."""
        return self.files[0].path

    def _info(self, name: str) -> TensorInfo:
        if name not in self._file_of:
            raise ModelError(f"{self.path.name}: there is no tensor {name!r}", hint=DAMAGED)
        return self._file_of[name].tensors[name]

    def values(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """The rows, as `Checkpoint` has it."""
        from llama_chat.engine.quantize import plain_view, unpack

        info, raw = self._info(name), self._file_of[name].blocks(name)
        plain = plain_view(raw, info)
        if plain is not None:
            return plain[start:stop]
        start, stop, _ = slice(start, stop).indices(info.shape[0])
        per_row = len(raw) // info.shape[0]  # a tensor of three dimensions has several rows of blocks a row
        part = replace(info, shape=(stop - start, *info.shape[1:]))
        return unpack(raw[start * per_row : stop * per_row], part)

    def blocks(self, name: str) -> Blocks | None:
        """The tensor's quantised blocks; None where its values lie there one by one."""
        info = self._info(name)
        if info.type_name in PLAIN_TYPES:
            return None
        return Blocks(self._file_of[name].blocks(name), info.type, info.shape[-1])

    def forget(self, name: str) -> None:
        """Give back the memory that reading the tensor took."""
        raw = self._file_of[name].blocks(name)
        forget_pages(raw.data_ptr(), raw.numel())

    def fingerprint(self) -> str:
        """Names these weights; worked out once, in 10 ms."""
        if not self._fingerprint:
            digest = hashlib.sha256()
            for file in self.files:
                places = [(t.offset, t.nbytes) for t in file.tensors.values()]
                hash_ends(digest, file.path, file.header_bytes, places)
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint


def open_parts(paths: Sequence[Path]) -> list[GGUFFile]:
    """The parts of one model, opened, and held against what each says of itself.

    Raises:
        ModelError: a file is damaged, a part of something else, or in the place of another.
    """
    files = [GGUFFile(path) for path in paths]
    for number, file in enumerate(files):
        where, count = file.path.name, file.get("split.count", int, 1)
        if count > 1 and len(files) == 1:
            raise ModelError(
                f"{where}: one of {count:,} parts, and its name does not say which",
                hint=f"Their names must end in -00001-of-{count:05}.gguf, and so on.",
            )
        if len(files) == 1:
            continue
        own_number = file.get("split.no", int, 0)
        if (count, own_number) != (len(files), number):
            raise ModelError(
                f"{where}: is part {own_number + 1:,} of {count:,} by its own account, "
                f"wanted {number + 1:,} of {len(files):,}",
                hint="The files belong to different models, or were renamed.",
            )
    _check_tensor_count(files)
    return files


def _check_tensor_count(files: Sequence[GGUFFile]) -> None:
    found = sum(len(file.tensors) for file in files)
    for file in files if len(files) > 1 else ():
        wanted = file.get("split.tensors.count", int, found)
        if wanted != found:
            raise ModelError(
                f"{file.path.name}: the parts have {found:,} tensors together, wanted {wanted:,}",
                hint="The files belong to different models. " + DAMAGED,
            )


_END_BYTES = 4096


def hash_ends(
    digest: hashlib._Hash, path: Path, header_bytes: int, tensors: Sequence[tuple[int, int]]
) -> None:
    """Feed the header of a file, both ends of every tensor (offset, bytes) in it, and the file's size.

    Fine-tunes of one model may have equal headers and sizes. The ends tell them apart, and of 16 GB they
    are 2 MB.
    """
    with path.open("rb") as raw:
        digest.update(raw.read(header_bytes))
        for offset, nbytes in tensors:
            for at in (offset, offset + max(0, nbytes - _END_BYTES)):
                raw.seek(at)
                digest.update(raw.read(min(_END_BYTES, nbytes)))
    digest.update(path.stat().st_size.to_bytes(8, "little"))


def _stored(info: TensorInfo) -> Stored:
    return Stored(info.name, info.shape, info.type_name, info.nbytes)


def config_from_gguf(file: GGUFFile, tensors: Mapping[str, Stored] | None = None) -> LlamaConfig:
    """The sizes that the file's metadata names, held against the tensors (of all parts, where it is split).

    Raises:
        ModelError: another architecture, a missing or impossible size, or tensors that do not fit.
    """
    architecture = file.get("general.architecture", str)
    if architecture not in SCRATCH_ARCHITECTURES:
        raise NotOursError(
            f"{file.path.name}: the architecture is '{shown(architecture)}', not of the Llama family",
            hint=OTHER_ENGINE,
        )
    if file.get("llama.expert_count", int, 0):
        raise NotOursError(
            f"{file.path.name}: a mixture of experts, which the from-scratch engine does not run",
            hint=OTHER_ENGINE,
        )
    if tensors is None:
        tensors = {name: _stored(info) for name, info in file.tensors.items()}

    def size(key: str, default: int | None = None) -> int:
        value: int = file.get(f"llama.{key}", int, default)
        if not 1 <= value <= 1 << 24:
            raise ModelError(f"{file.path.name}: llama.{key} is {value}", hint=DAMAGED)
        return value

    def number(key: str, default: float | None = None) -> float:
        value = float(file.get(f"llama.{key}", (int, float), default))
        if not 0 < value < 1e12:
            raise ModelError(f"{file.path.name}: llama.{key} is {value}", hint=DAMAGED)
        return value

    embedding = tensors.get(EMBEDDING)
    if embedding is None or len(embedding.shape) != 2:
        raise ModelError(f"{file.path.name}: there is no token embedding", hint=DAMAGED)
    n_heads = size("attention.head_count")
    config = LlamaConfig(
        dim=size("embedding_length"),
        n_layers=size("block_count"),
        n_heads=n_heads,
        n_kv_heads=size("attention.head_count_kv", n_heads),
        head_dim=size("attention.key_length", size("embedding_length") // n_heads),
        ffn_dim=size("feed_forward_length"),
        vocab_size=embedding.shape[0],
        context_length=size("context_length"),
        norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_theta=number("rope.freq_base", 10000.0),
        tied_output=OUTPUT not in tensors,
        rope_divisor=_rope_divisor(file),
    )
    _check_rope(config, file)
    check_config(config, tensors, file.path.name)
    return config


def _rope_divisor(file: GGUFFile) -> float:
    """The factor of linear RoPE scaling, 1 without it. Llama 3's scaling is a tensor, `rope_freqs.weight`.

    Raises:
        ModelError: another kind of scaling.
    """
    kind = file.get("llama.rope.scaling.type", str, "none")
    if kind not in ("none", "linear"):
        raise NotOursError(
            f"{file.path.name}: RoPE is scaled as '{shown(kind)}'; the from-scratch engine knows 'linear'",
            hint="transformers may run it in its Hugging Face form (config.json, safetensors), not as GGUF.",
        )
    factor = float(file.get("llama.rope.scaling.factor", (int, float), 1.0)) if kind == "linear" else 1.0
    if not 1 <= factor <= 1e6:
        raise ModelError(f"{file.path.name}: llama.rope.scaling.factor is {factor}", hint=DAMAGED)
    return factor


def _check_rope(config: LlamaConfig, file: GGUFFile) -> None:
    rope_dim = file.get("llama.rope.dimension_count", int, config.head_dim)
    if rope_dim != config.head_dim:
        raise NotOursError(
            f"{file.path.name}: RoPE turns {rope_dim} of {config.head_dim} values of a head; "
            "the from-scratch engine turns all",
            hint=OTHER_ENGINE,
        )
