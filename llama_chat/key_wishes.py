"""The table `[keys]` of the settings file: other keys for the actions of the chat, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_chat.setting_values import shown_value
from llama_chat.settings_file import change_file
from llama_chat.toml_edit import with_value, without_table

KEYS_TABLE = "keys"


@dataclass(frozen=True, slots=True)
class KeyWish:
    """Other keys for one action; whether they can be had is for the screen to say."""

    action: str
    keys: tuple[str, ...]
    where: str
    """The file's name and the line."""


def read_wishes(table: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...] | str]]:
    """Each action with its keys, or with what is wrong with what stands there."""
    for action, keys in table.items():
        if isinstance(keys, str):
            yield action, tuple(filter(None, [keys.strip()]))
        elif isinstance(keys, list) and all(isinstance(key, str) for key in keys):
            yield action, tuple(filter(None, map(str.strip, keys)))
        else:
            name = action if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", action) else shown_value(action)
            wanted = 'must be a key ("ctrl+g"), a list of keys, or "" for none'
            yield action, f"{KEYS_TABLE}.{name} = {shown_value(keys)} {wanted}. The default stays."


def save_keys(path: Path, action: str, key: str | None) -> None:
    """Give the action this key in the settings file, None for its defaults; all else stays as it is.

    Raises:
        SettingsError: the file is not TOML or cannot be read or written; it is untouched.
    """

    def change(text: str) -> str:
        if key is None:
            return without_table(text, (KEYS_TABLE, action))
        return with_value(text, KEYS_TABLE, action, key)

    change_file(
        path, change, "the key", f"Mend the file, or write '{action}' into its [{KEYS_TABLE}] by hand."
    )
