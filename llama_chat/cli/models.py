"""`llama-chat models`: list, pull, show and remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from llama_chat import catalogue
from llama_chat.catalogue import ModelFile
from llama_chat.cli.pull_bar import megabytes, pull_with_bar
from llama_chat.cli.talk import say
from llama_chat.log import start_log
from llama_chat.paths import user_paths
from llama_chat.sanitize import sanitize


@click.group(short_help="The models at hand.", invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.pass_context
def models(ctx: click.Context) -> None:
    """The models at hand; fetch, show or remove one. Without a command, list them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(as_json: bool) -> None:
    """List the catalogue and the models folder."""
    found = catalogue.list_models(user_paths().models)
    if as_json:
        click.echo(json.dumps([as_data(model) for model in found], indent=2))
        return
    width = max(len(_cell(model.name)) for model in found)
    for model in found:
        notes = ", ".join(_notes(model))
        click.echo(f"{_cell(model.name):<{width}}  {megabytes(model.size_bytes):>10}  {notes}".rstrip())


@models.command("pull")
@click.argument("name", required=False, default="")
def pull_command(name: str) -> None:
    """Fetch a model of the catalogue, without NAME the default one; its path goes to stdout."""
    paths = user_paths()
    start_log(paths.log_file)  # pip's own words go there
    entry = catalogue.find_entry(name)
    path = pull_with_bar(entry, paths.models)
    say(f"{entry.title} is here, {megabytes(entry.size_bytes)}, checked.")
    click.echo(_cell(str(path)))


@models.command("show")
@click.argument("model", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show_command(model: str, as_json: bool) -> None:
    """Show what is known of a model: a name of the list or a path."""
    found = catalogue.show(model, user_paths().models)
    if found.entry is None and found.path is not None:
        check_is_model(found.path)
    data = as_data(found)
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    for key, value in data.items():
        if value is not None:
            shown = ("yes" if value else "no") if isinstance(value, bool) else value
            shown = f"{value:,}" if key == "size_bytes" else shown
            click.echo(f"{key.replace('_', ' '):<12}{_cell(str(shown))}")


@models.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Delete a model out of the models folder."""
    say(f"Removed {catalogue.remove(name, user_paths().models)}.")


def check_is_model(path: Path) -> None:
    """Make sure that the path is a model, by its headers; what the catalogue fetched was checked whole.

    Raises:
        ModelError: it is none, or none that can be run.
    """
    from llama_chat.engine.model_file import read_model_file  # numpy, tiktoken: 0.35 s (2026-11)

    read_model_file(path)


def as_data(model: ModelFile) -> dict[str, Any]:
    """The model for JSON; what is not known is null."""
    entry = model.entry
    return {
        "name": model.name,
        "title": entry.title if entry else None,
        "path": str(model.path) if model.path else None,
        "is_here": model.path is not None,
        "is_default": model.is_default,
        "size_bytes": model.size_bytes,
        "sha256": entry.sha256 if entry else None,
        "licence": entry.licence if entry else None,
        "source": f"{entry.package} {entry.version}" if entry else None,
    }


def _notes(model: ModelFile) -> list[str]:
    notes = ["default"] if model.is_default else []
    if model.entry:
        notes.append(model.entry.licence)
        notes.append("here" if model.path else "not fetched yet")
    return notes


def _cell(text: str) -> str:
    return sanitize(" ".join(text.splitlines()))
