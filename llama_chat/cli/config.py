"""`llama-chat config`: the settings in force and where they come from, and the file with them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from llama_chat.cli.options import RunOptions
from llama_chat.cli.tables import Column, at_words, painter_for, table_lines, width_of
from llama_chat.cli.talk import say, say_notices
from llama_chat.editor import edit_file
from llama_chat.errors import SettingsError
from llama_chat.key_wishes import KEYS_TABLE, KeyWish
from llama_chat.paths import user_paths
from llama_chat.sanitize import sanitize
from llama_chat.setting_origins import Origin, make_first_file, setting_origins
from llama_chat.settings import read_layers

_COLUMNS = (Column("setting"), Column("value", wraps=at_words), Column("from"))


@click.group(short_help="The settings in force, and the file with them.", subcommand_metavar="[COMMAND]")
def config() -> None:
    """The settings: those in force, where their file is, and an editor on it."""


@config.command("show", short_help="Every setting, its value and where that comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def show_command(ctx: click.Context, as_json: bool) -> None:
    """Every setting, its value and where that comes from: an option, a variable, the file or the default.

    Options before `config` are shown as they would count: llama-chat --top-k 5 config show
    """
    path = user_paths().settings_file
    layers = read_layers(path, os.environ, ctx.ensure_object(RunOptions).flags)
    origins = setting_origins(path, layers)
    keys, key_notices = _keys(layers.keys)
    say_notices((*layers.notices, *key_notices))
    if as_json:
        click.echo(json.dumps(_as_data(path, origins, keys), indent=2))
        return
    rows = [(f"{o.table}.{o.name}", json.dumps(o.value, ensure_ascii=False), o.where) for o in origins]
    rows += [(f"{KEYS_TABLE}.{name}", ", ".join(wish), where) for name, (wish, where) in keys.items()]
    painter = painter_for(sys.stdout, os.environ)
    click.echo("\n".join(table_lines(_COLUMNS, rows, painter=painter, width=width_of(sys.stdout))))


@config.command("path")
def path_command() -> None:
    """Where the settings file is, or would be."""
    path = str(user_paths().settings_file)
    click.echo(sanitize(path) if sys.stdout.isatty() else path)  # a script gets the exact name


@config.command("edit", short_help="Open the settings file in an editor, then check it.")
def edit_command() -> int:
    """Open the settings file in $VISUAL or $EDITOR, and check afterwards what it says.

    Where there is none yet, one is made with every setting explained and none set.
    """
    path = user_paths().settings_file
    try:
        make_first_file(path)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}; it cannot be made.") from error
    edit_file(path)
    layers = read_layers(path, {}, {})
    notices = (*layers.notices, *_keys(layers.keys)[1])
    for notice in notices:
        say(notice)
    if notices:
        say("'llama-chat config edit' opens it again.")
    return 1 if notices else 0


def _keys(wishes: tuple[KeyWish, ...]) -> tuple[dict[str, tuple[tuple[str, ...], str]], tuple[str, ...]]:
    """The keys that are others than the defaults, with where that is said; a notice for each refused wish."""
    if not wishes:
        return {}, ()
    from llama_chat.ui.rebinding import rebound  # textual: 0.1 s, only where keys are named

    keys = rebound(wishes)
    where = {wish.action: wish.where for wish in wishes}
    found = {
        action.name: (action.keys, where[action.name])
        for action in keys.actions
        if action.name in keys.changed
    }
    return found, keys.notices


def _as_data(
    path: Path, origins: list[Origin], keys: Mapping[str, tuple[tuple[str, ...], str]]
) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {}
    for o in origins:
        settings.setdefault(o.table, {})[o.name] = {"value": o.value, "source": o.source, "where": o.where}
    for name, (wish, where) in keys.items():
        table = settings.setdefault(KEYS_TABLE, {})
        table[name] = {"value": list(wish), "source": "file", "where": where}
    return {"path": str(path), "exists": path.exists(), "settings": settings}
