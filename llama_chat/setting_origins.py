"""Where each setting in force comes from, and the settings file as it begins: for `config` and its screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from llama_chat.key_wishes import KEYS_TABLE
from llama_chat.paths import write_atomically
from llama_chat.presets import PRESETS_TABLE
from llama_chat.settings import (
    ENVIRONMENT_PREFIX,
    TABLES,
    Layers,
    SettingField,
    setting_fields,
)
from llama_chat.toml_edit import read_toml, statements

SourceKind = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The value of one setting and the source that decided."""

    table: str
    name: str
    value: Any
    source: SourceKind
    where: str
    """`line 7 of settings.toml`, `LLAMA_CHAT_TOP_K`, `--top-k`, `default`."""


def setting_origins(path: Path, layers: Layers) -> list[Origin]:
    """Every setting with its value and where that comes from, in the order of the tables."""
    lines = _lines(path)
    return [_origin(name, known, layers, path, lines) for name, known in setting_fields().items()]


def _origin(
    name: str, known: SettingField, layers: Layers, path: Path, lines: Mapping[tuple[str, ...], int]
) -> Origin:
    if name in layers.flags:
        return Origin(known.table, name, layers.flags[name], "flag", f"--{name.replace('_', '-')}")
    if name in layers.environment:
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        return Origin(known.table, name, layers.environment[name], "environment", variable)
    if name in layers.file:
        line = lines.get((known.table, name)) or lines.get((known.table,))  # an inline table has one line
        where = f"line {line} of {path.name}" if line else path.name
        return Origin(known.table, name, layers.file[name], "file", where)
    return Origin(known.table, name, known.field.default, "default", "default")


def _lines(path: Path) -> dict[tuple[str, ...], int]:
    """The line of each key and table of the file."""
    try:
        text, _ = read_toml(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {statement.path: statement.line for statement in reversed(list(statements(text)))}


def range_words(known: SettingField) -> str:
    """What the setting can be, in a few words: `0 to 10`, `auto, scratch, hf`, `on or off`."""
    metadata = known.field.metadata
    if "choices" in metadata:
        return ", ".join(metadata["choices"])
    if "pattern_help" in metadata:
        return str(metadata["pattern_help"])
    if isinstance(known.field.default, bool):
        return "true or false"
    if "min" in metadata:
        return f"{metadata['min']:,} to {metadata['max']:,}"
    return "a text"


def first_file() -> str:
    """A settings file in which everything is explained and nothing is set."""
    lines = [
        "# The settings of llama-chat. A line that begins with # says nothing: take the # away to set it.",
        "# What is given on the command line or as LLAMA_CHAT_<SETTING> counts more than what stands here.",
    ]
    for table, part in TABLES.items():
        lines += ["", f"[{table}]"]
        for each in fields(part):
            known = SettingField(table, each)
            lines += [f"# {each.metadata['help']} ({range_words(known)})"]
            lines += [f"# {each.name} = {json.dumps(each.default)}", ""]
        lines.pop()
    lines += [
        "",
        f"[{KEYS_TABLE}]",
        '# Other keys for what F1 lists: one, a list of several, or "" for none.',
    ]
    lines += ['# regenerate = "ctrl+g"', '# sessions = ["ctrl+s", "f2"]']
    lines += [
        "",
        f"[{PRESETS_TABLE}]",
        "# Values for the sampling under a name, which Alt+P, /preset and --preset take.",
        "# story = { temperature = 1.0, top_k = 0, min_p = 0.05 }",
    ]
    return "\n".join(lines) + "\n"


def make_first_file(path: Path) -> bool:
    """Write the first settings file, for its owner alone, where there is none; whether that was done.

    Raises:
        OSError: it cannot be written.
    """
    if path.exists():
        return False
    write_atomically(path, first_file().encode())
    return True
