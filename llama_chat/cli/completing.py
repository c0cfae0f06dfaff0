"""What a word on the command line can become: names of models and themes, ids of sessions, choices.

Only words that a shell takes as they are: what is completed is put into the command line unquoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import click
from click.shell_completion import CompletionItem

from llama_chat.paths import bundled_themes, user_paths
from llama_chat.settings import DTYPES, SettingField

SESSIONS = 40
HELP_LETTERS = 60
_DEVICES = ("auto", "cpu", "cuda", "rocm", "xpu", "mps")
_PLAIN = re.compile(r"[A-Za-z0-9@%_+=:,./-]+")

_Items = list[CompletionItem[str]]


def complete_setting(known: SettingField, incomplete: str) -> _Items:
    """Values of a setting that begin so; none where it can be anything."""
    name = known.field.name
    if name == "model":
        return complete_model(incomplete)
    if name == "theme":
        return _fitting(theme_names(), incomplete)
    if name == "device":
        return _fitting(_DEVICES, incomplete)
    if name == "dtype":  # the short names; the aliases would be a crowd
        return _fitting(DTYPES, incomplete)
    return _fitting(known.field.metadata.get("choices", ()), incomplete)


def complete_models(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> _Items:
    """`complete_model`, as an argument wants it."""
    return complete_model(incomplete)


def complete_model(incomplete: str) -> _Items:
    """Names of models that begin so; where none does, files."""
    from llama_chat.shelves.listing import list_found

    names = dict.fromkeys(model.name for model in list_found(user_paths()))
    return _fitting(names, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_presets(incomplete: str) -> _Items:
    """Names of presets that begin so."""
    from llama_chat.presets import BUILT_IN
    from llama_chat.settings import read_layers

    own = read_layers(user_paths().settings_file, {}, {}).presets
    return _fitting([preset.name for preset in (*BUILT_IN, *own)], incomplete)


def complete_sessions(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> _Items:
    """Short ids of the last sessions that begin so, with their titles."""
    from llama_chat.conversation import short_id
    from llama_chat.sessions.titles import recent_titles

    path = user_paths().sessions_file
    if not path.exists():
        return []
    found = recent_titles(path, incomplete, SESSIONS)
    return [
        CompletionItem(max(short_id(session_id), incomplete, key=len), help=_short(title))
        for session_id, title in found
    ]


def complete_sessions_or_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> _Items:
    """`complete_sessions`; where there is none, files."""
    return complete_sessions(ctx, param, incomplete) or [CompletionItem(incomplete, type="file")]


def theme_names() -> Iterator[str]:
    """The program's own themes and the user's."""
    from llama_chat.toml_edit import read_toml

    for folder in (bundled_themes(), user_paths().user_themes):
        for path in sorted(folder.glob("*.toml")):
            try:
                yield str(read_toml(path.read_bytes())[1].get("name", path.stem))
            except (OSError, ValueError):
                continue


def _fitting(words: Iterable[str], incomplete: str) -> _Items:
    return [CompletionItem(w) for w in words if w.startswith(incomplete) and _PLAIN.fullmatch(w)]


def _short(title: str) -> str:
    from llama_chat.sanitize import one_line

    words = one_line(title)
    return words if len(words) <= HELP_LETTERS else f"{words[: HELP_LETTERS - 1]}…"
