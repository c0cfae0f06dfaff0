"""A path becomes a listing: the files of a folder are grouped, and each is read by its own reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from llama_chat.engine.files.checkpoint import DAMAGED, shown
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.inspect.listing import Listing, Part, TokenizerFacts
from llama_chat.errors import ModelError

MAX_DOCUMENT_BYTES = 32 << 20
_MAX_NESTING = 64
_META_FOLDER = "original"
_DOCUMENTS = ("config.json", "generation_config.json", "params.json")
_FORMATS = {".gguf": "gguf", ".safetensors": "safetensors", ".pth": "pth", ".pt": "pth", ".bin": "pth"}
# model-00001-of-00004.safetensors, consolidated.00.pth
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(\w+)|(.+)\.(\d{2,3})\.(pth)")
_READABLE = "Give a .gguf, .safetensors, .pth, .json or tokenizer.model file, or a folder of them."

_Found: TypeAlias = Part | TokenizerFacts | dict[str, Any] | None


def list_path(path: Path) -> Listing:
    """Everything that lies there. Headers are read, no tensor is.

    Of a folder, and of `original` in it, files that cannot be read become notices.

    Raises:
        ModelError: nothing there, or nothing that can be read.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path}: there is no such file or folder")
        is_folder = path.is_dir()
        paths = _files_in(path) if is_folder else _with_siblings(path)
        groups = group_shards(paths) if is_folder else [paths]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not groups:
        raise ModelError(f"{path}: there is nothing in this folder that can be inspected", hint=_READABLE)
    return _read(path, groups, gives_way=is_folder)


def group_shards(paths: Iterable[Path]) -> list[list[Path]]:
    """The files, those that one model is split over together, in the order of their numbers."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        match = _SHARD.fullmatch(path.name)
        stem = f"{match[1] or match[5]} {match[3]} {match[4] or match[7]}" if match else path.name
        groups.setdefault((path.parent, stem), []).append(path)
    return list(groups.values())


def _files_in(folder: Path) -> list[Path]:
    """What is of use in the folder, and in Meta's folder inside one of Hugging Face's."""
    inside = folder / _META_FOLDER
    entries = [*folder.iterdir(), *(inside.iterdir() if inside.is_dir() else ())]
    return [path for path in entries if not path.name.startswith(".") and _is_of_use(path) and path.is_file()]


def _is_of_use(path: Path) -> bool:
    is_weights = path.suffix.lower() in _FORMATS and (path.suffix != ".bin" or "model" in path.name)
    return is_weights or path.name in (*_DOCUMENTS, "tokenizer.json", "tokenizer.model")


def _with_siblings(path: Path) -> list[Path]:
    """The file; of a split GGUF all of its parts, since the metadata is in the first only."""
    if path.suffix.lower() != ".gguf" or not _SHARD.fullmatch(path.name):
        return [path]
    return next(group for group in group_shards(path.parent.iterdir()) if path in group)


def _read(path: Path, groups: Sequence[list[Path]], *, gives_way: bool) -> Listing:
    parts: list[Part] = []
    tokenizers: list[TokenizerFacts] = []
    documents: dict[str, dict[str, Any]] = {}
    notices: list[str] = []
    for group in groups:
        try:
            found = _reader(group[0], is_sniffed=not gives_way)(group)
        except ModelError as error:
            if not gives_way:
                raise
            notices.append(error.message)
            continue
        if gives_way or (isinstance(found, Part) and found.format == "GGUF"):
            notices += _missing(group)
        if isinstance(found, Part):
            parts.append(found)
            tokenizers += _tokenizers_in(found)
        elif isinstance(found, TokenizerFacts):
            tokenizers.append(replace(found, file=_relative(group[0], path)))
        else:
            documents[_relative(group[0], path)] = found or {}
    return Listing(path, tuple(parts), documents, tuple(tokenizers), tuple(notices))


def _reader(path: Path, *, is_sniffed: bool) -> Callable[[list[Path]], _Found]:
    """What reads such a file.

    Raises:
        ModelError: nothing does.
    """
    kind = _FORMATS.get(path.suffix.lower()) or (_sniffed(path) if is_sniffed else None)
    if path.name == "tokenizer.json" or path.name == "tokenizer.model":
        return _read_tokenizer
    if kind == "gguf":
        from llama_chat.engine.inspect.gguf_part import read_gguf_part

        return read_gguf_part
    if kind == "safetensors":
        from llama_chat.engine.inspect.safetensors_part import read_safetensors_part

        return read_safetensors_part
    if kind == "pth":
        from llama_chat.engine.inspect.pth_part import read_pth_part

        return read_pth_part
    if path.suffix.lower() == ".json":
        return _read_document
    if path.suffix.lower() == ".model":
        return _read_tokenizer
    raise ModelError(f"{path.name}: a kind of file that is not known", hint=_READABLE)


def _read_document(paths: list[Path]) -> dict[str, Any]:
    """The object in the file; nested no deeper than can be printed."""
    found = read_json(paths[0], MAX_DOCUMENT_BYTES)
    level: list[Any] = [found]
    for _ in range(_MAX_NESTING):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _values(outer)]
    if level:
        raise ModelError(f"{paths[0].name}: is nested more than {_MAX_NESTING} deep", hint=DAMAGED)
    return found


def _values(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def _sniffed(path: Path) -> str | None:
    """The format that the first bytes tell; a download may have lost its ending."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if head[:4] == b"GGUF":
        return "gguf"
    if head[:4] == b"PK\x03\x04":
        return "pth"
    return "safetensors" if head[8:9] == b"{" else None


def _read_tokenizer(paths: list[Path]) -> TokenizerFacts:
    from llama_chat.engine.inspect.tokenizer_facts import json_tokenizer, model_tokenizer

    return json_tokenizer(paths[0]) if paths[0].suffix == ".json" else model_tokenizer(paths[0])


def _tokenizers_in(part: Part) -> list[TokenizerFacts]:
    if part.format != "GGUF":
        return []
    from llama_chat.engine.inspect.tokenizer_facts import gguf_tokenizer

    found = gguf_tokenizer(part.metadata, part.files[0].name)
    return [found] if found else []


def _missing(group: Sequence[Path]) -> list[str]:
    """A notice where the names of the files say that there are more of them."""
    match = _SHARD.fullmatch(group[0].name)
    if match is None or not match[3]:
        return []
    there = {int(found[2]) for path in group if (found := _SHARD.fullmatch(path.name))}
    missing = [str(n) for n in range(1, int(match[3]) + 1) if n not in there]
    if not missing:
        return []
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return [f"{shown(match[1])}: of {int(match[3])} parts these are missing: {', '.join(missing[:5])}{more}"]


def _relative(path: Path, start: Path) -> str:
    return str(path.relative_to(start)) if path.is_relative_to(start) and path != start else path.name
