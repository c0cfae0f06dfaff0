"""The command line: `llama-chat` is the chat, its subcommands do one thing each.

Heavy imports stand inside the functions that need them: `--help` needs click and the settings alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import click

from llama_chat import __version__
from llama_chat.cli.group import LazyGroup
from llama_chat.cli.options import (
    MODEL_OPTIONS,
    SAMPLING_OPTIONS,
    RunOptions,
    draft_option,
    model_options,
    option_name,
    preset_option,
    sampling_options,
    session_options,
    theme_option,
)
from llama_chat.cli.talk import exit_status
from llama_chat.errors import UsageError

PROGRAM = "llama-chat"
COMPLETION_VARIABLE = "_LLAMA_CHAT_COMPLETE"
COMMANDS = {
    "run": ("llama_chat.cli.run:run", "One answer to stdout."),
    "replay": (
        "llama_chat.cli.replay:replay",
        "A saved session watched again, or run again and checked.",
    ),
    "inspect": (
        "llama_chat.cli.inspect:inspect",
        "What is in the files of a model: tensors, tokenizer, metadata.",
    ),
    "tokens": (
        "llama_chat.cli.tokens:tokens",
        "A text as the model's tokens, or a sample of the vocabulary.",
    ),
    "walk": (
        "llama_chat.cli.walk:walk",
        "The way of a text through the model, step by step, with its numbers.",
    ),
    "sweep": (
        "llama_chat.cli.sweep:sweep",
        "One prompt at a row of temperatures, or of another setting, side by side.",
    ),
    "verify": (
        "llama_chat.cli.verify:verify",
        "The from-scratch engine against transformers: figures and a verdict.",
    ),
    "bench": (
        "llama_chat.cli.bench:bench",
        "How fast models run here: speed, memory, energy, quality; compared with earlier runs.",
    ),
    "devices": ("llama_chat.cli.devices:devices", "The devices that torch sees, and what fits on them."),
    "models": ("llama_chat.cli.models:models", "The models at hand; fetch, show or remove one."),
    "sessions": ("llama_chat.cli.sessions:sessions", "The saved sessions: search, export, import and more."),
    "config": ("llama_chat.cli.config:config", "The settings in force, and the file with them."),
    "completion": ("llama_chat.cli.completion:completion", "The script for your shell that completes words."),
}
TAKEN_OPTIONS = {
    "run": (*MODEL_OPTIONS, "draft", *SAMPLING_OPTIONS, "system", "preset", "resume", "continue"),
    "replay": MODEL_OPTIONS,
    "tokens": MODEL_OPTIONS,
    "walk": MODEL_OPTIONS,
    "sweep": (*MODEL_OPTIONS, *SAMPLING_OPTIONS, "system"),
    "verify": MODEL_OPTIONS,
    "bench": MODEL_OPTIONS,
    "devices": MODEL_OPTIONS,
    "config": (*MODEL_OPTIONS, "draft", *SAMPLING_OPTIONS, "system", "theme"),
}
"""By subcommand, the options before it that are meant for it, too."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@model_options
@draft_option
@sampling_options
@preset_option
@session_options
@theme_option
@click.option(
    "--plain", is_flag=True, help="Chat line by line: for screen readers, simple terminals and pipes."
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, plain: bool) -> int:
    """Chat with a Llama model on this machine. Without a command, the chat opens."""
    options = ctx.ensure_object(RunOptions)
    if ctx.invoked_subcommand is not None:
        taken = set(map(option_name, TAKEN_OPTIONS.get(ctx.invoked_subcommand, ())))
        for given in [*options.given(), *["--plain"] * plain]:
            if given not in taken:
                raise UsageError(
                    f"'{PROGRAM} {ctx.invoked_subcommand}' takes no {given}.", hint="Leave the option out."
                )
        return 0
    if "system" in options.flags and (options.resume is not None or options.continue_last):
        raise UsageError(
            "--system begins a new chat; it cannot be given with --continue or --resume.",
            hint="Change it in the chat with F8.",
        )
    loaded, paths = options.load()
    from llama_chat.cli.chat import open_chat

    return open_chat(
        loaded, paths, resume=options.resume, continue_last=options.continue_last, is_plain=plain
    )


def invoke(arguments: Sequence[str]) -> object:
    """Run the command line; what the command returned.

    Not `cli.main`, which would answer interruptions and broken pipes by itself (click 8.5).
    """
    if COMPLETION_VARIABLE in os.environ:
        from llama_chat.cli.completion import complete

        return complete(cli, os.environ[COMPLETION_VARIABLE])
    with cli.make_context(PROGRAM, list(arguments)) as ctx:
        return cli.invoke(ctx)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The command `llama-chat`: run it and end the process."""
    _print_what_can_be_encoded()
    status = exit_status(lambda: invoke(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and threading.active_count() > 1:
        _leave_at_once(status)
    sys.exit(status)


def _leave_at_once(status: int) -> NoReturn:
    """End the process without taking the interpreter down, which other threads still use.

    Who quits while one imports torch had an abort for it, and torch's words on the terminal (2026-11-22).
    What is to be kept is on the disk by now, and what still runs has been waited for.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    os._exit(status)


def _print_what_can_be_encoded() -> None:
    """Let stdout and stderr write `?` for what their encoding lacks (LANG=C, a pipe on Windows)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
