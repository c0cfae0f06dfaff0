"""`llama-chat walk`: a text on its way through the model, step by step, with the model's own numbers."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llama_chat.alteration import UNALTERED, Alteration, parse_alteration
from llama_chat.cli.options import RunOptions, model_options
from llama_chat.cli.talk import say, say_notices
from llama_chat.errors import ModelError, UsageError
from llama_chat.walk.steps import STEP_NAMES, STEPS, numbered_step

if TYPE_CHECKING:
    from llama_chat.drawing.views import StepView
    from llama_chat.engine.files.model import ModelFile
    from llama_chat.engine.generate import LocalEngine
    from llama_chat.paths import Paths
    from llama_chat.settings import Settings
    from llama_chat.walk.walk import Walk


@dataclass(frozen=True, slots=True)
class WalkRequest:
    """What was asked on the command line; layer and head count from 0."""

    text: str
    step: str | None
    layer: int
    head: int
    as_json: bool
    svg: str | None
    html: str | None
    force: bool
    alteration: Alteration = UNALTERED
    shows_effects: bool = False


@click.command(
    short_help="The way of a text through the model, with its numbers.",
    epilog="""\b
Examples:
  llama-chat walk "The capital of France is"
  llama-chat walk "The capital of France is" --step softmax --layer 14 --head 9
  llama-chat walk "The capital of France is" --step lens --svg lens.svg
  llama-chat walk "The capital of France is" --html walk.html
  llama-chat walk "The capital of France is" --step distribution --without L3""",
)
@click.argument("text", required=False)
@click.option(
    "--step",
    "step_name",
    type=click.Choice(STEP_NAMES),
    metavar="NAME",
    help=f"Show this step alone: {', '.join(STEP_NAMES)}.",
)
@click.option(
    "--layer", type=click.IntRange(1), metavar="N", help="Of the steps inside a layer (default: 1)."
)
@click.option("--head", type=click.IntRange(1), metavar="N", help="Of the steps inside a head (default: 1).")
@click.option(
    "--without",
    "without",
    multiple=True,
    metavar="L3.H4",
    help="Switch a head (L3.H4) or a layer (L3) off; the distribution is shown with and without. Repeatable.",
)
@click.option(
    "--alter",
    "alter",
    multiple=True,
    metavar="L3.H4×0.5",
    help="The same with a factor for what the head or the layer gives; L7*2 doubles it. Repeatable.",
)
@click.option(
    "--effects",
    is_flag=True,
    help="Instead of the steps: switch off every head by itself, and map how far the next token moves.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with the numbers.")
@click.option(
    "--svg", type=click.Path(allow_dash=True), metavar="FILE", help="Write a picture of the --step instead."
)
@click.option(
    "--html",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="Write a page instead: of all the steps, or of the --step.",
)
@click.option("--force", is_flag=True, help="Replace the file, if it is there.")
@model_options
@click.pass_context
def walk(
    ctx: click.Context,
    text: str | None,
    step_name: str | None,
    layer: int | None,
    head: int | None,
    without: tuple[str, ...],
    alter: tuple[str, ...],
    effects: bool,
    as_json: bool,
    svg: str | None,
    html: str | None,
    force: bool,
) -> None:
    """Follow TEXT, or what is piped in, through the model to its next token.

    Every step is told with the real numbers of this model on this text: tokens, embeddings, one layer's
    attention and feed-forward part, what each layer would say next, logits, the distribution. The text goes
    in raw, without the chat template. Layers and heads count from 1, positions from 0.
    """
    options = ctx.ensure_object(RunOptions)
    _check_usage(options, step_name, layer, head, svg, shows_effects=effects)
    if force and not (svg or html):
        raise UsageError("--force belongs to --svg and --html.", hint="Leave it out.")
    loaded, paths = options.load()
    say_notices(loaded.notices)
    alteration = parse_alteration(" ".join((*(f"{place} off" for place in without), *alter)))
    request = WalkRequest(
        text=_read_text(text),
        step=step_name,
        layer=(layer or 1) - 1,
        head=(head or 1) - 1,
        as_json=as_json,
        svg=svg,
        html=html,
        force=force,
        alteration=alteration,
        shows_effects=effects,
    )
    _check_files(request)
    from llama_chat.cli.answer import cancel_on_interrupt
    from llama_chat.log import start_log

    start_log(paths.log_file)
    with cancel_on_interrupt() as cancel:
        _show(request, _load(request, loaded.settings, paths, cancel), cancel)


def _check_usage(
    options: RunOptions,
    step_name: str | None,
    layer: int | None,
    head: int | None,
    svg: str | None,
    *,
    shows_effects: bool,
) -> None:
    """Raises `UsageError` for options that do not go together."""
    if options.flags.get("engine", "auto") == "hf":
        raise UsageError("walk looks into the from-scratch engine.", hint="Leave --engine out.")
    if shows_effects and (step_name or layer or head):
        raise UsageError("--effects is of all heads.", hint="Leave --step, --layer and --head out.")
    if svg and step_name is None and not shows_effects:
        raise UsageError("--svg is a picture of one step.", hint="Name it with --step, or take --html.")
    if step_name is not None:
        step = numbered_step(step_name)[1]
        for option, value, is_known in (("layer", layer, step.in_layer), ("head", head, step.in_head)):
            if value is not None and not is_known:
                raise UsageError(f"The step {step_name} has no {option}.", hint=f"Leave --{option} out.")


def _read_text(given: str | None) -> str:
    """The argument, or all that is piped in but for the last newlines.

    Raises:
        UsageError: there is neither.
    """
    from llama_chat.cli.answer import read_prompt

    text = given if given is not None else read_prompt(None, sys.stdin)
    if not text:
        raise UsageError("There is no text.", hint='Give one: llama-chat walk "The capital of France is"')
    return text


def _check_files(request: WalkRequest) -> None:
    """Raises `StoreError` where a picture cannot go, before anything is computed."""
    from llama_chat.cli.sessions_output import STDOUT, check_is_free

    for name in (request.svg, request.html):
        if name and name != STDOUT:
            check_is_free(Path(name), force=request.force)


def _load(request: WalkRequest, settings: Settings, paths: Paths, cancel: threading.Event) -> LocalEngine:
    """The engine, once everything that can be refused by the headers alone has been.

    Raises:
        LlamaChatError: there is no such model, layer or head, or the text is too long.
    """
    from llama_chat.cli.engines import LoadingLine, find_or_fetch
    from llama_chat.engine.preload import mapping_torch

    path = find_or_fetch(settings, paths, cancel)
    with mapping_torch():
        from llama_chat.engine.choose import read_model
        from llama_chat.engine.files.model import ModelFile

        model = read_model(path, settings.model.engine)
        if not isinstance(model, ModelFile):
            raise ModelError(
                f"{model.name}: only what the from-scratch engine runs can be walked through: {model.why}",
                hint="Take a model of the Llama family.",
            )
        _check_model(request, settings, model)
    from llama_chat.engine.load import build_engine

    with LoadingLine(model.name, sys.stderr) as line:
        engine = build_engine(model, settings.model, line, cancel)
    say_notices(engine.info.notices)
    return engine


def _check_model(request: WalkRequest, settings: Settings, model: ModelFile) -> None:
    from llama_chat.walk.checks import check_ids, check_layer_and_head, ids_of

    check_layer_and_head(model.config, request.layer, request.head)
    request.alteration.check(model.config.n_layers, model.config.n_heads)
    check_ids(ids_of(model.tokenizer, request.text), model.config, settings.model.context)


def _show(request: WalkRequest, engine: LocalEngine, cancel: threading.Event) -> None:
    """Print or write what was asked for."""
    from llama_chat.walk.walk import Walk

    made = Walk(engine, request.text, cancel, alteration=request.alteration)
    if request.svg or request.html:
        _write_pictures(request, made, list(_views(request, made)))
    elif request.as_json:
        from llama_chat.drawing.data import comparison_data, facts_data, steps_data

        is_one = request.step is not None or request.shows_effects
        views = list(_views(request, made))
        data = facts_data(made.facts, made.difference()) | {"steps": steps_data(views, is_whole=is_one)}
        if (found := made.comparison()) is not None:
            data["comparison"] = comparison_data(found)
        click.echo(json.dumps(data, ensure_ascii=False))
    else:
        _print_steps(request, made)


def _views(request: WalkRequest, made: Walk) -> Iterator[StepView]:
    """What was asked for, each as soon as it is made."""
    if request.shows_effects:
        from llama_chat.cli.engines import LoadingLine
        from llama_chat.events import Loading

        with LoadingLine("the heads, one by one", sys.stderr, verb="Switching off") as line:
            view = made.head_effects(lambda fraction: line(Loading(fraction, "weights")))
        yield view
        return
    for name in [request.step] if request.step else [step.name for step in STEPS]:
        yield made.step(name, request.layer, request.head)


def _print_steps(request: WalkRequest, made: Walk) -> None:
    """Each as soon as it is made."""
    from llama_chat.cli.tables import painter_for, width_of
    from llama_chat.cli.walk_text import facts_lines, step_lines

    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    for line in facts_lines(made.facts, painter, width):
        click.echo(line)
    for view in _views(request, made):
        for line in ("", *step_lines(view, made.facts, painter, width)):
            click.echo(line)


def _write_pictures(request: WalkRequest, made: Walk, views: list[StepView]) -> None:
    from llama_chat.cli.sessions_output import STDOUT, write_parts

    if request.svg:
        from llama_chat.drawing.svg import step_svg

        write_parts([step_svg(views[0], made.facts)], request.svg, force=request.force)
    if request.html:
        from llama_chat.drawing.html import walk_html

        write_parts([walk_html(views, made.facts)], request.html, force=request.force)
    for name in filter(None, (request.svg, request.html)):
        if name != STDOUT:
            say(f"Wrote {name}.")
