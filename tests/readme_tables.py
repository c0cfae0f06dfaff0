"""The README tables that come from the program's own data: `python tests/readme_tables.py` rewrites them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from llama_chat.chat.keys import KEY_ACTIONS
from llama_chat.settings import setting_fields

README = Path(__file__).parent.parent / "README.md"


def keys_table() -> str:
    """What each key does, and the slash command that does the same."""
    rows = ["| key | what it does | command | in `[keys]` |", "|---|---|---|---|"]
    for key in KEY_ACTIONS:
        names = ", ".join(key.key_names)
        help_text = key.help.replace("|", "\\|")
        rows.append(f"| {names} | {help_text} | {f'`{key.command}`' if key.command else ''} | `{key.name}` |")
    return "\n".join(rows)


def settings_table() -> str:
    """Every setting with its table, default and help."""
    rows = ["| table | setting | default | |", "|---|---|---|---|"]
    for name, known in setting_fields().items():
        default = "" if known.field.default == "" else f"`{json.dumps(known.field.default)}`"
        help_text = known.field.metadata["help"].replace("|", "\\|")
        rows.append(f"| `[{known.table}]` | `{name}` | {default} | {help_text} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """The README with its tables made anew."""
    for name, table in (("keys", keys_table()), ("settings", settings_table())):
        block = re.compile(rf"(<!-- {name}: [^>]*-->).*?(<!-- /{name} -->)", re.DOTALL)
        text = block.sub(lambda match, table=table: f"{match[1]}\n{table}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
