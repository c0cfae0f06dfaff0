"""`llama-chat inspect`: what is in the files of a model, whether it can be run or not."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from llama_chat.catalogue import find_model
from llama_chat.cli.completing import complete_models
from llama_chat.cli.talk import say
from llama_chat.errors import ModelError
from llama_chat.paths import user_paths


@click.command(
    short_help="Tensors, tokenizer and metadata of a file or folder.",
    epilog="""\b
Examples:
  llama-chat inspect model.safetensors
  llama-chat inspect ~/Meta-Llama-3-8B-Instruct --all
  llama-chat inspect model.gguf --tensor 'blk.0.*' --tensor output_norm.weight""",
)
@click.argument("path", shell_complete=complete_models)
@click.option(
    "--tensor",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Show the values of these tensors: their own names, or GGUF's for them. Can be given several times.",
)
@click.option("--all", "shows_all", is_flag=True, help="List every layer, also those that are alike.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def inspect(path: str, globs: tuple[str, ...], shows_all: bool, as_json: bool) -> int:
    """List the tensors, the metadata and the tokenizer that lie at PATH, and the totals.

    PATH is a .gguf, .safetensors, .pth, .json or tokenizer.model file, a folder of them, or a model of the
    models folder. Only headers are read; --tensor reads the tensors that it names, and shows their first
    values, mean, standard deviation, range and histogram instead. The exit status is 1 if a file or a tensor
    could not be read.
    """
    from llama_chat.cli.inspect_json import as_data
    from llama_chat.cli.inspect_text import listing_lines, statistics_lines
    from llama_chat.cli.tables import painter_for, width_of
    from llama_chat.engine.inspect.at_path import list_path
    from llama_chat.engine.inspect.chosen import chosen_tensors, read_chosen

    listing = list_path(_found(path))
    for notice in listing.notices:
        say(f"llama-chat: {notice}")
    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    if not (globs or as_json):
        for line in listing_lines(listing, painter, width, shows_all=shows_all):
            click.echo(line)
    read = []
    for found in read_chosen(chosen_tensors(listing, globs)):
        read.append(found)
        if not as_json:
            for line in statistics_lines(found, painter, width):
                click.echo(line)
    if as_json:
        click.echo(json.dumps(as_data(listing, read), indent=2))
    problems = [*listing.problems, *(found.problem for found in read if found.statistics is None)]
    for problem in problems:
        say(f"llama-chat: {problem}")
    return 1 if problems else 0


def _found(path: str) -> Path:
    """The path, or that of a model of this name.

    Raises:
        ModelError: there is nothing, or it is not fetched yet.
    """
    with suppress(OSError, RuntimeError, ValueError):  # `find_model` says what is wrong with it
        given = Path(path).expanduser()
        if path and given.exists():
            return given
    found = find_model(path, user_paths().models)
    if isinstance(found, Path):
        return found
    raise ModelError(f"{path} is not on this disk.", hint=f"Fetch it: llama-chat models pull {path}")
