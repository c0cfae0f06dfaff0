"""Code out of a reply as a file: which name is proposed, and how it is written beside what is there."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from itertools import count
from pathlib import Path

from llama_chat.chat.prompt.typed_path import is_folder, typed_path
from llama_chat.errors import StoreError
from llama_chat.markup.code_blocks import CodeBlock

LONGEST_NAME = 80
DEFAULT_STEM = "code"

_ENDINGS = {
    "python": "py", "py": "py", "python3": "py", "javascript": "js", "js": "js", "typescript": "ts",
    "ts": "ts", "jsx": "jsx", "tsx": "tsx", "bash": "sh", "sh": "sh", "shell": "sh", "zsh": "zsh",
    "fish": "fish", "console": "txt", "powershell": "ps1", "ps1": "ps1", "batch": "bat", "c": "c", "h": "h",
    "cpp": "cpp", "c++": "cpp", "hpp": "hpp", "csharp": "cs", "c#": "cs", "cs": "cs", "java": "java",
    "kotlin": "kt", "kt": "kt", "swift": "swift", "go": "go", "golang": "go", "rust": "rs", "rs": "rs",
    "ruby": "rb", "rb": "rb", "php": "php", "perl": "pl", "lua": "lua", "r": "r", "julia": "jl",
    "haskell": "hs", "hs": "hs", "scala": "scala", "clojure": "clj", "elixir": "ex", "erlang": "erl",
    "ocaml": "ml", "dart": "dart", "zig": "zig", "nim": "nim", "sql": "sql", "html": "html", "css": "css",
    "scss": "scss", "xml": "xml", "svg": "svg", "json": "json", "jsonl": "jsonl", "yaml": "yaml",
    "yml": "yaml", "toml": "toml", "ini": "ini", "csv": "csv", "markdown": "md", "md": "md", "latex": "tex",
    "tex": "tex", "diff": "diff", "patch": "patch", "makefile": "mk", "make": "mk", "cmake": "cmake",
    "nix": "nix", "vim": "vim", "graphql": "graphql", "proto": "proto", "protobuf": "proto", "text": "txt",
    "txt": "txt", "plaintext": "txt",
}  # fmt: skip
_WHOLE_NAMES = {"dockerfile": "Dockerfile", "makefile": "Makefile", "make": "Makefile"}
_NAME_IN_INFO = re.compile(r"""(?:title|file|filename|name|path)\s*[=:]\s*["']?([^"'\s{}]+)""", re.IGNORECASE)
_NAME = re.compile(r"[\w.+-]+\.[A-Za-z][A-Za-z0-9]{0,9}")
_NAME_IN_COMMENT = re.compile(
    r"\s*(?:#+|//+|--|;+|%|/\*+|<!--)\s*(?:file(?:name)?:\s*)?(\S+)\s*(?:\*/|-->)?\s*"
)
_UNSAFE = re.compile(r"[^\w.+-]+")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


def proposed_name(block: CodeBlock) -> str:
    """A name that is safe in any folder: the one that the block gives itself, else one by its language."""
    first, language = block.code.split("\n", 1)[0], block.language.casefold()
    named = _named_in_info(block.info) or _named_in_comment(first)
    if named:
        return named
    if language in _WHOLE_NAMES:
        return _WHOLE_NAMES[language]
    return f"{DEFAULT_STEM}.{_ENDINGS.get(language, 'txt')}"


def _named_in_info(info: str) -> str:
    if match := _NAME_IN_INFO.search(info):
        return _safe_name(match[1])
    words = re.split(r"[\s:,{}]+", info.strip())
    return next((safe for word in words if (safe := _safe_name(word)) and _NAME.fullmatch(safe)), "")


def _named_in_comment(line: str) -> str:
    match = _NAME_IN_COMMENT.fullmatch(line)
    safe = _safe_name(match[1]) if match else ""
    return safe if _NAME.fullmatch(safe) else ""


def _safe_name(path: str) -> str:
    """The last part of a path that the model wrote; no folder, no hidden file, no device, nothing odd."""
    name = _UNSAFE.sub("-", re.split(r"[/\\]", path.strip())[-1]).lstrip(".-")[:LONGEST_NAME].rstrip(".-")
    return f"{DEFAULT_STEM}-{name}" if _DEVICES.match(name) else name


def free_path(path: Path) -> Path:
    """The path, or where something is there already, the first one beside it: `name-2.py`."""
    if not os.path.lexists(path):
        return path
    return next(
        beside
        for number in count(2)
        if not os.path.lexists(beside := path.with_name(f"{path.stem}-{number}{path.suffix}"))
    )


def path_of(words: str, block: CodeBlock) -> Path:
    """Where it is to be written: the path in the words, in the folder that they name, or what is proposed.

    Asks the disk.

    Raises:
        StoreError: the working folder is gone.
    """
    words = words.strip()
    try:
        named = typed_path(words).absolute()
    except OSError as error:
        raise StoreError("The working folder is gone.", hint="A path from / on can be written to.") from error
    if not words or is_folder(named) or words.endswith(("/", os.sep)):
        return free_path(named / proposed_name(block))
    return named


def save_code(words: str, block: CodeBlock) -> Path:
    """Where it was written to, after the words. May wait for the disk.

    Raises:
        StoreError: something is there already, or the disk does not take it.
    """
    path = path_of(words, block)
    write_code(path, block)
    return path


def proposed_words(block: CodeBlock) -> str:
    """A name that is free in the working folder."""
    return free_path(Path(proposed_name(block))).name


def free_words(words: str, block: CodeBlock) -> str:
    """Where something is there already: the words for a free name in the same folder; else nothing."""
    try:
        path = path_of(words, block)
    except StoreError:
        return ""
    return str(Path(words.strip()).with_name(free_path(path).name)) if os.path.lexists(path) else ""


def write_code(path: Path, block: CodeBlock) -> None:
    """Write the file whole or not at all; nothing that is there is ever overwritten.

    Raises:
        StoreError: something is there already, or the disk does not take it.
    """
    part = path.with_name(f".{path.name[:LONGEST_NAME]}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(block.code.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())
        _take_place(part, path)
    except FileExistsError as error:
        hint = f"{free_path(path).name} is free."
        raise StoreError(f"{path} is there already.", hint=hint) from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be written: {getattr(error, 'strerror', '') or error}.") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            part.unlink()


def _take_place(part: Path, path: Path) -> None:
    """Give the written file its name: a link to it fails where there is a file, a rename would not."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without second names
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        part.replace(path)
