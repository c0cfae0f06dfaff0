"""`llama-chat run`: one answer to stdout, for shells and pipes."""

from __future__ import annotations

import sys

import click

from llama_chat.cli.options import (
    RunOptions,
    draft_option,
    model_options,
    preset_option,
    sampling_options,
    session_options,
)
from llama_chat.cli.talk import say_notices
from llama_chat.errors import UsageError


@click.command(short_help="One answer to stdout.")
@click.argument("prompt", required=False)
@click.option("--raw", is_flag=True, help="Give the prompt to the model as it is, without the chat template.")
@click.option(
    "--n",
    "count",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="How many answers to print, all from one prefill.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each answer as one line of JSON.")
@click.option("--stats", is_flag=True, help="Print token counts and speed to stderr.")
@model_options
@draft_option
@sampling_options
@preset_option
@session_options
@click.pass_context
def run(ctx: click.Context, prompt: str | None, raw: bool, count: int, as_json: bool, stats: bool) -> None:
    """Answer PROMPT, what is piped in, or both (the piped text first), and print the answer.

    Nothing is kept, unless -c or --resume names a session to go on with.
    """
    from llama_chat.cli.answer import RunRequest, read_prompt, run_prompt

    options = ctx.ensure_object(RunOptions)
    loaded, paths = options.load()
    goes_on = options.resume is not None or options.continue_last
    if goes_on and (raw or count > 1):
        raise UsageError("--raw and --n cannot go on with a session.", hint="Leave out -c and --resume.")
    say_notices(loaded.notices)
    request = RunRequest(
        prompt=read_prompt(prompt, sys.stdin),
        raw=raw,
        count=count,
        as_json=as_json,
        stats=stats,
        resume=options.resume,
        continue_last=options.continue_last,
        is_system_given="system" in options.flags,
    )
    run_prompt(request, loaded, paths)
