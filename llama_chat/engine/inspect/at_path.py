"""A path becomes a listing: the files of a folder are grouped, and each is read by its own reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from llama_chat.engine.files.checkpoint import DAMAGED
from llama_chat.engine.files.json_file import read_json
from llama_chat.engine.inspect.grouping import FileGroup, alone, group_files, indexed_group
from llama_chat.engine.inspect.listing import Listing, Part, TokenizerFacts
from llama_chat.engine.inspect.missing import missing_notices
from llama_chat.errors import ModelError
from llama_chat.part_names import INDEX_ENDING, ORIGINAL, part_name

MAX_DOCUMENT_BYTES = 32 << 20
_MAX_NESTING = 64
_DOCUMENTS = ("config.json", "generation_config.json", "params.json")
_FORMATS = {".gguf": "gguf", ".safetensors": "safetensors", ".pth": "pth", ".pt": "pth", ".bin": "pth"}
_READABLE = "Give a .gguf, .safetensors, .pth, .json or tokenizer.model file, or a folder of them."

_Found: TypeAlias = Part | TokenizerFacts | dict[str, Any] | None


def list_path(path: Path) -> Listing:
    """Everything that lies there. Headers are read, no tensor is.

    Of a folder, and of `original` in it, files that cannot be read become problems of the listing.

    Raises:
        ModelError: nothing there, or nothing that can be read.
    """
    try:
        if not path.exists():
            raise ModelError(f"{path}: there is no such file or folder")
        is_folder = path.is_dir()
        paths = _files_in(path) if is_folder else [path]
        groups, problems = _groups_in(path, paths) if is_folder else ([_given(path)], [])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not (groups or problems):
        raise ModelError(f"{path}: there is nothing in this folder that can be inspected", hint=_READABLE)
    found = _read(path, groups, gives_way=is_folder)
    return replace(found, problems=(*problems, *found.problems))


def _files_in(folder: Path) -> list[Path]:
    """What is of use in the folder, and in Meta's folder inside one of Hugging Face's."""
    inside = folder / ORIGINAL
    entries = [*folder.iterdir(), *(inside.iterdir() if inside.is_dir() else ())]
    return [path for path in entries if not path.name.startswith(".") and _is_of_use(path) and path.is_file()]


def _groups_in(folder: Path, paths: Sequence[Path]) -> tuple[list[FileGroup], list[str]]:
    """The files by the indexes that name them, the rest by their names; and what is wrong with an index."""
    from llama_chat.engine.files.hf_weights import read_weight_map

    groups, problems, taken = list[FileGroup](), list[str](), set[Path]()
    for index in sorted(path for path in folder.iterdir() if path.name.endswith(INDEX_ENDING)):
        try:
            group = indexed_group(index, read_weight_map(index), paths)
        except ModelError as error:
            problems.append(error.message)
            continue
        groups.append(group)
        taken |= set(group.files)
    groups += group_files(path for path in paths if path not in taken)
    return sorted(groups, key=lambda group: len(group.files[0].parts) if group.files else 0), problems


def _is_of_use(path: Path) -> bool:
    is_weights = path.suffix.lower() in _FORMATS and (path.suffix != ".bin" or "model" in path.name)
    return is_weights or path.name in (*_DOCUMENTS, "tokenizer.json", "tokenizer.model")


def _given(path: Path) -> FileGroup:
    """The file; of a split GGUF all of its parts, since the metadata is in the first only."""
    if path.suffix.lower() != ".gguf" or part_name(path.name) is None:
        return alone(path)
    return next(group for group in group_files(path.parent.iterdir()) if path in group.files)


def _read(path: Path, groups: Sequence[FileGroup], *, gives_way: bool) -> Listing:
    parts: list[Part] = []
    tokenizers: list[TokenizerFacts] = []
    documents: dict[str, dict[str, Any]] = {}
    notices: list[str] = []
    problems: list[str] = []
    for whole in groups:
        group, found, wrong = (
            _read_what_can_be(whole) if gives_way else (whole, _read_group(whole, is_sniffed=True), [])
        )
        problems += wrong
        if isinstance(found, Part):
            if gives_way or found.format == "GGUF":
                notices += [*missing_notices(group, found), *found.notices]
            parts.append(found)
            tokenizers += _tokenizers_in(found)
        elif isinstance(found, TokenizerFacts):
            tokenizers.append(replace(found, file=_relative(group.files[0], path)))
        elif found is not None:
            documents[_relative(group.files[0], path)] = found
        elif group.index:
            notices += missing_notices(group)
    return Listing(path, tuple(parts), documents, tuple(tokenizers), tuple(notices), tuple(problems))


def _read_what_can_be(group: FileGroup) -> tuple[FileGroup, _Found, list[str]]:
    """The group without the files that cannot be read, what is in the others, and what is wrong."""
    try:
        return group, _read_group(group) if group.files else None, []
    except ModelError as error:
        if len(group.files) == 1:
            return group, None, [error.message]
    readable, problems = list[Path](), list[str]()
    for file in group.files:
        try:
            _read_group(replace(group, files=(file,)))
            readable.append(file)
        except ModelError as error:
            problems.append(error.message)
    unread = tuple(file for file in group.files if file not in readable)
    rest = replace(group, files=tuple(readable), unread=unread)
    return rest, _read_group(rest) if readable else None, problems


def _read_group(group: FileGroup, *, is_sniffed: bool = False) -> _Found:
    """What is in the files, whose format their first bytes may tell.

    Raises:
        ModelError: one of them cannot be read.
    """
    kind = _kind(group.files[0], is_sniffed=is_sniffed)
    if kind == "gguf":
        from llama_chat.engine.inspect.gguf_part import read_gguf_part

        return read_gguf_part(group.files, group.count)
    if kind == "safetensors":
        from llama_chat.engine.inspect.safetensors_part import read_safetensors_part

        return read_safetensors_part(group.files, group.count)
    if kind == "pth":
        from llama_chat.engine.inspect.pth_part import read_pth_part

        return read_pth_part(group.files, group.count)
    return _read_tokenizer(group.files[0]) if kind == "tokenizer" else _read_document(group.files[0])


def _kind(path: Path, *, is_sniffed: bool) -> str:
    """What reads such a file.

    Raises:
        ModelError: nothing does.
    """
    if path.name == "tokenizer.json" or path.suffix.lower() == ".model":
        return "tokenizer"
    if path.suffix.lower() == ".json":
        return "document"
    known = _FORMATS.get(path.suffix.lower()) or (_sniffed(path) if is_sniffed else None)
    if known is None:
        raise ModelError(f"{path.name}: a kind of file that is not known", hint=_READABLE)
    return known


def _read_document(path: Path) -> dict[str, Any]:
    """The object in the file; nested no deeper than can be printed."""
    found = read_json(path, MAX_DOCUMENT_BYTES)
    level: list[Any] = [found]
    for _ in range(_MAX_NESTING):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _values(outer)]
    if level:
        raise ModelError(f"{path.name}: is nested more than {_MAX_NESTING} deep", hint=DAMAGED)
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


def _read_tokenizer(path: Path) -> TokenizerFacts:
    from llama_chat.engine.inspect.tokenizer_facts import json_tokenizer, model_tokenizer

    return json_tokenizer(path) if path.suffix == ".json" else model_tokenizer(path)


def _tokenizers_in(part: Part) -> list[TokenizerFacts]:
    if part.format != "GGUF":
        return []
    from llama_chat.engine.inspect.tokenizer_facts import gguf_tokenizer

    found = gguf_tokenizer(part.metadata, part.files[0].name)
    return [found] if found else []


def _relative(path: Path, start: Path) -> str:
    return str(path.relative_to(start)) if path.is_relative_to(start) and path != start else path.name
