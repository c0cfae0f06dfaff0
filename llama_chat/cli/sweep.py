"""`llama-chat sweep`: one prompt under a row of settings, side by side as the tokens come."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import click

from llama_chat.cli.options import RunOptions, model_options, option_name, varying_options
from llama_chat.cli.talk import say, say_notices
from llama_chat.errors import Interrupted, UsageError
from llama_chat.sampling import Sampling
from llama_chat.sweep.columns import NEUTRAL, Variation, parse_variation

if TYPE_CHECKING:
    from llama_chat.cli.sweep_text import SweepPrinter
    from llama_chat.events import Engine, Piece
    from llama_chat.settings import Settings
    from llama_chat.sweep.columns import SweepColumn
    from llama_chat.sweep.gathered import SweepReplies

CANDIDATES = 10
_SAMPLING_NAMES = tuple(field.name for field in fields(Sampling))


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What was asked on the command line."""

    prompt: str
    raw: bool
    variation: Variation
    columns: tuple[SweepColumn, ...]
    as_json: bool
    candidates: int


@click.command(
    short_help="One prompt at a row of temperatures, or of another setting, side by side.",
    epilog="""\b
Examples:
  llama-chat sweep "Once upon a time"
  llama-chat sweep "Tell me about the fox." --vary top-k=1,10,all --temperature 2
  llama-chat sweep "Once upon a time" --vary seed=1,2,3 -n 100
  llama-chat sweep "Once upon a time" --json | jq '.columns[].figures.perplexity'""",
)
@click.argument("prompt", required=False)
@click.option("--raw", is_flag=True, help="Give the prompt to the model as it is, without the chat template.")
@click.option(
    "--vary",
    metavar="NAME=A,B,...",
    help="The setting that differs, and its values: temperature, top-k, top-p, min-p, repetition-penalty or "
    "seed; NAME alone takes the usual ones.  [default: temperature=0.1,0.316,1,3.16,10]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, with every token's distribution.")
@click.option(
    "--candidates",
    type=click.IntRange(1, 64),
    metavar="N",
    help=f"With --json: how many of the likeliest tokens of each choice (default: {CANDIDATES}, at most 64).",
)
@model_options
@varying_options
@click.pass_context
def sweep(
    ctx: click.Context, prompt: str | None, raw: bool, vary: str | None, as_json: bool, candidates: int | None
) -> None:
    """Answer PROMPT, what is piped in, or both, once for each of a row of temperatures, side by side.

    The prompt is computed once, and all columns have the same seed: what differs comes of the one setting.
    The others do nothing unless an option sets them: temperature 1, all tokens, no penalty, 48 new tokens,
    whatever your settings file says.

    Below each column: the mean probability of its tokens as the model has it → as they were drawn, their
    mean surprise and the perplexity by the model's own distribution, distinct-1 / distinct-2 (different
    tokens, and pairs of them, as a share of all), why it ended, and what its first token was drawn from.
    In a pipe the columns come below each other, each when it has ended.
    """
    if candidates is not None and not as_json:
        raise UsageError("--candidates belongs to --json.", hint="Leave it out.")
    options = ctx.ensure_object(RunOptions)
    variation = parse_variation("temperature" if vary is None else vary)
    _check_not_fixed(variation, options.flags)
    loaded, paths = options.load()
    from llama_chat.cli.answer import cancel_on_interrupt, read_prompt
    from llama_chat.cli.engines import load_for_command
    from llama_chat.log import start_log

    request = SweepRequest(
        prompt=read_prompt(prompt, sys.stdin),
        raw=raw,
        variation=variation,
        columns=tuple(_columns(variation, options.flags, loaded.settings)),
        as_json=as_json,
        candidates=candidates or CANDIDATES,
    )
    if not request.prompt.strip():
        raise UsageError("The prompt is empty.", hint='Try: llama-chat sweep "Once upon a time"')
    say_notices(loaded.notices)
    start_log(paths.log_file)
    with cancel_on_interrupt() as cancel:
        engine = load_for_command(loaded.settings, paths, cancel)
        say_notices(engine.info.notices)
        try:
            _sweep(request, engine, loaded.settings, cancel)
        finally:
            engine.close()


def _check_not_fixed(variation: Variation, flags: dict[str, object]) -> None:
    """Raises `UsageError` where what is varied is set by an option, too."""
    if variation.name in flags:
        option = option_name(variation.name)
        raise UsageError(
            f"{option} sets what is varied.",
            hint=f"Leave it out, or vary something else: --vary {_other(variation.name)}.",
        )


def _other(name: str) -> str:
    return "top-k" if name == "temperature" else "temperature"


def _columns(variation: Variation, flags: dict[str, Any], settings: Settings) -> list[SweepColumn]:
    """The columns; what no option sets is neutral, but for the seed, which may be locked in the settings."""
    from llama_chat.conversation import new_seed

    others = replace(NEUTRAL, **{name: flags[name] for name in _SAMPLING_NAMES if name in flags})
    locked = settings.chat.seed
    return variation.columns(others, new_seed() if locked < 0 else locked)


def _sweep(request: SweepRequest, engine: Engine, settings: Settings, cancel: threading.Event) -> None:
    """Compute, and print as it comes.

    Raises:
        LlamaChatError: nothing, or not all, could be computed; what there is has been printed.
        Interrupted: Ctrl+C; likewise.
    """
    from llama_chat.cli.sweep_text import printer_for
    from llama_chat.distribution.names import TokenNames
    from llama_chat.sweep.asking import InTurns, sweep_by
    from llama_chat.sweep.gathered import SweepReplies

    replies = SweepReplies.of(request.columns)
    printer: SweepPrinter | None = None
    if not request.as_json:
        names = TokenNames.of_engine(engine)
        printer = printer_for(sys.stdout, os.environ, request.prompt, request.variation, engine.info, names)
    for event in sweep_by(engine, _pieces(request, engine, settings), request.columns, cancel):
        replies.feed(event)
        if isinstance(event[1], InTurns):
            say(f"llama-chat: there is memory for {event[1].at_once} columns at a time: they come in turns.")
        if printer is not None:
            printer.show(replies)
    _end(request, engine, replies, printer)


def _end(request: SweepRequest, engine: Engine, replies: SweepReplies, printer: SweepPrinter | None) -> None:
    if replies.prefilled is not None:
        if printer is not None:
            printer.end(replies)
        else:
            from llama_chat.cli.sweep_json import print_json

            print_json(replies, request.variation, engine, request.candidates)
    if replies.error is not None:
        raise replies.error
    if replies.is_stopped:
        raise Interrupted("Stopped")


def _pieces(request: SweepRequest, engine: Engine, settings: Settings) -> Sequence[Piece]:
    """The prompt: in the model's chat template, or as it is.

    Raises:
        PromptError: it does not fit.
    """
    from llama_chat.events import Text

    if request.raw:
        return [Text(request.prompt)]
    if engine.info.chat_template is None:
        say(f"llama-chat: {engine.info.name} has no chat template; the prompt goes in raw.")
    from datetime import date

    from llama_chat.conversation import Conversation, Role
    from llama_chat.turn import build_prompt

    conversation = Conversation()
    conversation.set_system(settings.chat.system)
    conversation.append(Role.USER, request.prompt)
    most = max(column.sampling.max_new_tokens for column in request.columns)
    today = date.today().isoformat()
    return build_prompt(engine, conversation.path(), date=today, max_new_tokens=most).pieces
