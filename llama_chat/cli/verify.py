"""`llama-chat verify`: the from-scratch engine against transformers, figures and a verdict."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from llama_chat.cli.options import RunOptions, model_options
from llama_chat.cli.talk import say, say_notices
from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from llama_chat.cli.tables import Painter
    from llama_chat.engine.verify.verify import Comparison, Verification

FAILED = 1
_MOST_POSITION = 10_000_000


@click.command(short_help="Both engines on the same weights, and a verdict.")
@click.option(
    "--positions",
    metavar="N[,N...]",
    default="",
    help="Where in the context to compare, as 1,2k,8k. Without it: what takes no long time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@model_options
@click.pass_context
def verify(ctx: click.Context, positions: str, as_json: bool) -> int:
    """Run the from-scratch engine and transformers on the same weights and compare what they say.

    Both go over a fixed text and to positions far into the context, in f32 and in the --dtype, one after
    the other. Exit status 0: they agree within the bounds that are printed; 1: they do not.

    In --json, top1_share is a fraction (0 to 1), mean_kl is in nats a token, max_abs, mean_abs and margin
    are in logits, and each check names the unit of what was found and of its bound.
    """
    options = ctx.ensure_object(RunOptions)
    if "engine" in options.flags:
        raise UsageError("verify runs both engines.", hint="Leave --engine out.")
    wanted = parse_positions(positions)
    loaded, paths = options.load()
    say_notices(loaded.notices)
    from llama_chat.cli.answer import cancel_on_interrupt
    from llama_chat.cli.engines import find_or_fetch
    from llama_chat.log import start_log

    start_log(paths.log_file)
    with cancel_on_interrupt() as cancel:
        path = find_or_fetch(loaded.settings, paths, cancel)
        from llama_chat.engine.choose import read_model
        from llama_chat.engine.devices import threads_notices
        from llama_chat.engine.verify.verify import verify as run_verify

        model = read_model(path, "auto")
        say_notices((*model.notices, *threads_notices(loaded.settings.model.threads)))
        found = run_verify(
            model,
            loaded.settings.model,
            positions=wanted,
            tell=lambda what: say(f"{what} ..."),
            cancel=cancel,
        )
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    else:
        for line in as_lines(found):
            click.echo(line)
    return 0 if found.passed else FAILED


def parse_positions(text: str) -> tuple[int, ...]:
    """`1,2k,8192` as numbers of tokens; k is 1,024.

    Raises:
        UsageError: something else.
    """
    found = []
    for part in filter(None, (part.strip().lower() for part in text.split(","))):
        match = re.fullmatch(r"([0-9]{1,8})(k?)", part)
        position = int(match[1]) * (1024 if match[2] else 1) if match else 0
        if not 1 <= position <= _MOST_POSITION:
            raise UsageError(f"--positions: {part!r} is no number of tokens.", hint="Write it as 1,2k,8192.")
        found.append(position)
    return tuple(found)


def as_data(found: Verification) -> dict[str, Any]:
    """For JSON; figures of logits that are no numbers are null."""
    data: dict[str, Any] = _finite(asdict(found) | {"passed": found.passed})
    return data


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    is_number = not isinstance(value, float) or abs(value) < float("inf")  # NaN is not smaller
    return value if is_number else None


def as_lines(found: Verification) -> list[str]:
    """The tables and the verdict, as wide as the terminal."""
    from llama_chat.cli.tables import count_text, painter_for, width_of, wrapped

    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    about = [
        f"torch {found.torch} · transformers {found.transformers}",
        f"{count_text(found.threads, 'thread')} · weights {found.fingerprint} · {found.seconds:.0f} s",
    ]
    lines = [painter.bold(line) for line in wrapped(f"{found.model}, {found.dtype} on {found.device}", width)]
    lines += [line for part in about for line in wrapped(part, width)]
    lines += ["", *_difference_lines(found, painter, width), ""]
    lines += [*_greedy_lines(found.comparisons, painter, width), "", *_check_lines(found, painter, width)]
    for left in found.left_out:
        lines += wrapped(f"left out: {left.what}: {left.why}", width)
    for damage in found.damage:
        lines += wrapped(f"damaged: {damage}", width)
    verdict = "PASS: the engines agree" if found.passed else "FAIL: the engines do not agree"
    if found.damage:
        verdict = "FAIL: the weights or the logits hold values that are no numbers"
    return [*lines, "", painter.bold(verdict)]


def _difference_lines(found: Verification, painter: Painter, width: int | None) -> list[str]:
    """One table; a line before its rows names the two networks."""
    from llama_chat.cli.tables import Column, table_lines

    columns = [Column("at")]
    columns += [
        Column(title, is_right=True)
        for title in ("tokens", "largest Δ", "relative", "mean Δ", "mean KL", "same top")
    ]
    rows = [
        (
            *(place.place, f"{place.rows:,}"),
            *(_short(value) for value in (place.max_abs, place.max_relative, place.mean_abs, place.mean_kl)),
            _percent(place.top1_share),
        )
        for comparison in found.comparisons
        for place in comparison.places
    ]
    titles, *table = table_lines(columns, rows, painter=painter, width=width, indent="  ")
    lines, left = [titles], iter(table)
    for comparison in found.comparisons:
        lines.append(_pair(comparison))
        lines += itertools.islice(left, len(comparison.places))
    return lines


def _pair(comparison: Comparison) -> str:
    return f"{comparison.ours} against {comparison.reference}"


def _greedy_lines(comparisons: tuple[Comparison, ...], painter: Painter, width: int | None) -> list[str]:
    from llama_chat.cli.tables import Column, at_words, table_lines

    rows = []
    for comparison in comparisons:
        together = comparison.greedy
        parted = (
            "" if together.margin is None else f"parted where the choice was ahead by {together.margin:.3g}"
        )
        rows.append((_pair(comparison), f"{together.equal} of {together.count} tokens", parted))
    columns = [Column("greedy continuations"), Column("alike"), Column(wraps=at_words)]
    return table_lines(columns, rows, painter=painter, width=width)


def _check_lines(found: Verification, painter: Painter, width: int | None) -> list[str]:
    from llama_chat.cli.tables import Column, at_words, table_lines

    rows = []
    for check in found.checks:
        shown = _percent if check.unit == "share" else _short
        bound = f"{'≥' if check.is_floor else '≤'} {shown(check.bound)}"
        rows.append((check.what, shown(check.found), bound, "ok" if check.passed else "FAILED"))
    columns = [Column("check", wraps=at_words), Column("found", is_right=True)]
    columns += [Column("bound", is_right=True), Column()]
    return table_lines(columns, rows, painter=painter, width=width)


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 0.01 else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
