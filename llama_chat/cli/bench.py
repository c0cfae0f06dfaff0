"""`llama-chat bench`: how fast models run on this machine, beside what its memory would allow."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llama_chat.benchmarks.records import Configuration, PromptText
from llama_chat.cli.options import MODEL_OPTIONS, RunOptions, repeatable_model_options
from llama_chat.cli.talk import say_notices
from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from llama_chat.benchmarks.history import Past
    from llama_chat.cli.bench_run import BenchRun
    from llama_chat.paths import Paths
    from llama_chat.settings import Settings

PROMPT_TOKENS = 512
NEW_TOKENS = 128
REPEATS = 3
_COUNT = click.IntRange(1, 10_000_000)
_FAILED = 1


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What was asked on the command line."""

    prompt_tokens: tuple[int, ...]
    prompt: str | None
    raw: bool
    new_tokens: int
    repeats: int
    quality: bool
    as_json: bool
    draft: str | None


@click.command(
    short_help="How fast models run here, beside what the memory allows.",
    epilog="""\b
Examples:
  llama-chat bench
  llama-chat bench --prompt-tokens 128 --prompt-tokens 2048
  llama-chat bench --engine scratch --engine hf --dtype bf16 --dtype f32
  llama-chat bench --prompt "Tell me about the fox." --new-tokens 143
  llama-chat bench --draft auto --prompt "$(cat notes.txt) Write this again."
  llama-chat bench --quality --json > mine.json
  llama-chat bench --compare theirs.json""",
)
@click.option(
    "--prompt-tokens",
    type=_COUNT,
    multiple=True,
    metavar="N",
    help=f"Length of the prompt, of fixed ids.  [default: {PROMPT_TOKENS}]",
)
@click.option(
    "--prompt",
    metavar="TEXT",
    help="A prompt in words instead, in the model's chat template as in a chat.",
)
@click.option("--raw", is_flag=True, help="Give the --prompt to the model as it is, without the template.")
@click.option(
    "--new-tokens",
    type=_COUNT,
    default=NEW_TOKENS,
    show_default=True,
    metavar="N",
    help="Tokens decoded behind the prompt, past any end.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 1000),
    default=REPEATS,
    show_default=True,
    metavar="N",
    help="Timed runs after the warm-up.",
)
@click.option(
    "--quality",
    is_flag=True,
    help="Also how far the logits are from the same weights in f32: mean KL and perplexity over a fixed "
    "text of 2,000 tokens.",
)
@click.option(
    "--compare",
    type=click.Path(),
    metavar="FILE",
    help="A file of earlier runs, from --json, to compare with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in one line.")
@repeatable_model_options
@click.option(
    "--draft",
    metavar="auto|MODEL",
    help="Also one reply with drafting, as a chat has it, beside the same without.",
)
@click.pass_context
def bench(ctx: click.Context, /, compare: str | None, prompt_tokens: tuple[int, ...], **asked: object) -> int:
    """Measure prefill and decode speed, time to the first token, memory and energy of a model.

    Options of the model and --prompt-tokens may be given several times: every combination is measured, each
    in a new process. There the first prompt is the cold figure and the warm-up; then come the timed runs,
    greedy and without drafting, of which the median counts.

    Decoding reads all weights for every token, so the memory bounds it: its bandwidth is measured as well,
    and the share of it that decoding reached. Each run is kept, and compared with the last one alike.
    """
    lengths = tuple(dict.fromkeys(prompt_tokens))
    request = BenchRequest(lengths, **asked)  # type: ignore[arg-type]  # click's parameters are its fields
    _check(request)
    options = ctx.ensure_object(RunOptions)
    loaded, paths = options.load()
    others = None if compare is None else _others(Path(compare))
    say_notices(loaded.notices)
    from llama_chat.cli.answer import cancel_on_interrupt
    from llama_chat.log import start_log

    start_log(paths.log_file)
    with cancel_on_interrupt() as cancel:
        wanted = configurations(request, options, loaded.settings, paths, cancel)
        from llama_chat.cli.bench_run import BenchRun

        run = BenchRun(paths, others, compare or "", cancel)
        try:
            run.measure(wanted, with_quality=request.quality)
        finally:
            run.keep()
            _print(run, as_json=request.as_json)
    return _FAILED if run.failures else 0


def _check(request: BenchRequest) -> None:
    """Raises `UsageError` where options exclude each other."""
    if request.prompt is not None and request.prompt_tokens:
        raise UsageError("--prompt and --prompt-tokens exclude each other.", hint="Give one of them.")
    if request.raw and request.prompt is None:
        raise UsageError("--raw belongs to --prompt.", hint="Leave it out.")
    if request.prompt is not None and not request.prompt.strip():
        raise UsageError("The prompt is empty.", hint='Try: llama-chat bench --prompt "Once upon a time"')


def _others(path: Path) -> list[Past]:
    """The runs in the file.

    Raises:
        UsageError: there are none.
    """
    from llama_chat.benchmarks.history import past_runs

    try:
        found = past_runs(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}.") from error
    if not found:
        raise UsageError(f"{path}: there is no run in it.", hint="Make one: llama-chat bench --json > FILE")
    return found


def configurations(
    request: BenchRequest, options: RunOptions, settings: Settings, paths: Paths, cancel: threading.Event
) -> list[Configuration]:
    """Every combination of what was asked for; models that are not at hand are fetched.

    Raises:
        LlamaChatError: there is no such model, or it cannot be fetched.
    """
    from llama_chat.cli.engines import find_or_fetch

    asked = [options.repeated.get(name, (getattr(settings.model, name),)) for name in MODEL_OPTIONS]
    prompt = None
    if request.prompt is not None:
        from datetime import date

        prompt = PromptText(request.prompt, request.raw, settings.chat.system, date.today().isoformat())
    lengths = (0,) if prompt is not None else request.prompt_tokens or (PROMPT_TOKENS,)
    combinations = [
        replace(settings.model, **dict(zip(MODEL_OPTIONS, values, strict=True)))
        for values in itertools.product(*asked)
    ]
    found = {
        model.model: str(find_or_fetch(replace(settings, model=model), paths, cancel))
        for model in combinations
    }
    return [
        Configuration(
            replace(model, model=found[model.model], draft="off"),
            *(length, request.new_tokens, request.repeats, prompt, request.draft or "off"),
        )
        for model in combinations
        for length in lengths
    ]


def _print(run: BenchRun, *, as_json: bool) -> None:
    if not run.results:
        return
    if as_json:
        click.echo(json.dumps(run.as_data(), allow_nan=False))
        return
    from llama_chat.cli.bench_text import bench_lines
    from llama_chat.cli.tables import painter_for, width_of

    for line in bench_lines(run, painter_for(sys.stdout, os.environ), width_of(sys.stdout)):
        click.echo(line)
