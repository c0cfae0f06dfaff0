"""`llama-chat tokens --score`: how likely a text is to the model, token by token."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from llama_chat.cli.score_figures import NOT_SCORED, ScoredToken, ScoreFigures
from llama_chat.cli.talk import say, say_notices
from llama_chat.cli.tokens import PIPED
from llama_chat.distribution.names import TokenNames
from llama_chat.errors import Interrupted, UsageError
from llama_chat.events import Engine, Text
from llama_chat.paths import Paths
from llama_chat.scoring import score_by, windows
from llama_chat.settings import Settings


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What was asked on the command line."""

    text: str
    as_json: bool


def read_score_file(name: str) -> bytes:
    """What is in the file, or piped in.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    if name == PIPED:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("There is no text.", hint="Name a file: llama-chat tokens --score notes.txt")
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{name}: {reason}.",
            hint='A text itself stands before it: llama-chat tokens "some words" --score',
        ) from error


def show_score(request: ScoreRequest, settings: Settings, paths: Paths) -> None:
    """Load the model, and print every token of the text as it is scored, then the figures.

    Raises:
        LlamaChatError: there is no such model, or it cannot be run.
        Interrupted: Ctrl+C; what was scored is printed.
    """
    from llama_chat.cli.answer import cancel_on_interrupt
    from llama_chat.cli.engines import load_for_command
    from llama_chat.log import start_log

    start_log(paths.log_file)
    with cancel_on_interrupt() as cancel:
        engine = load_for_command(settings, paths, cancel)
        say_notices(engine.info.notices)
        _show(request, engine, cancel)


def _show(request: ScoreRequest, engine: Engine, cancel: threading.Event) -> None:
    ids = engine.encode([Text(request.text)])
    figures = ScoreFigures(ids, engine.info, TokenNames.of_engine(engine))
    scored: list[ScoredToken] = []
    interrupted: Interrupted | None = None
    print_token = _nothing if request.as_json else _token_printer(figures)
    try:
        for token in _scored(engine, ids, cancel):
            print_token(len(scored), token)
            scored.append(token)
    except Interrupted as error:
        interrupted = error
    if request.as_json:
        data = figures.as_data(scored, is_complete=interrupted is None)
        click.echo(json.dumps(data, allow_nan=False))
    else:
        _print_figures(figures, scored)
    if interrupted is not None:
        raise Interrupted(f"Stopped after {len(scored):,} of {len(ids):,} tokens.") from interrupted


def _scored(engine: Engine, ids: Sequence[int], cancel: threading.Event) -> Iterator[ScoredToken]:
    """All of the ids; the first has nothing before it."""
    if ids:
        yield NOT_SCORED
    for token in score_by(engine, ids, 0, cancel):
        yield ScoredToken.of(token)


def _token_printer(figures: ScoreFigures) -> Callable[[int, ScoredToken], None]:
    """Prints a line of the table, once the token at that place is scored."""
    from llama_chat.cli.score_text import ScoreTable
    from llama_chat.cli.tables import painter_for, width_of

    table = ScoreTable(figures, painter_for(sys.stdout, os.environ), width_of(sys.stdout))
    if notice := _window_notice(figures):
        say(f"llama-chat: {notice}")

    def print_token(place: int, token: ScoredToken) -> None:
        if place == 0:
            click.echo(table.head())
        click.echo(table.line(place, token))

    return print_token


def _nothing(place: int, token: ScoredToken) -> None:
    """JSON comes at the end."""


def _window_notice(figures: ScoreFigures) -> str:
    length, count = figures.info.context_length, len(figures.ids)
    if len(list(windows(count, 0, length))) < 2:
        return ""
    return (
        f"{count:,} tokens are more than the context of {length:,}: they are scored in windows, in which "
        f"each sees at least the {length // 2:,} before it."
    )


def _print_figures(figures: ScoreFigures, scored: Sequence[ScoredToken]) -> None:
    from llama_chat.cli.score_text import figure_lines
    from llama_chat.cli.tables import painter_for, width_of

    for line in figure_lines(figures, scored, painter_for(sys.stdout, os.environ), width_of(sys.stdout)):
        click.echo(line)
