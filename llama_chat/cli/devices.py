"""`llama-chat devices`: what torch sees, what fits, and what to install for the rest."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from llama_chat.cli.options import RunOptions, model_options
from llama_chat.cli.talk import say_notices

if TYPE_CHECKING:
    from llama_chat.engine.device_report import DeviceFacts
    from llama_chat.engine.fitting import Fit

_MODEL_HELP = """With --model, each device is held against weights, KV cache and working memory of that model
in every precision, before anything of it is loaded. --context, --device and --dtype narrow that down.
Of a model that only transformers runs the working memory is not known."""


@click.command(short_help="The devices that torch sees, and what fits on them.", epilog=_MODEL_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@model_options
@click.pass_context
def devices(ctx: click.Context, as_json: bool) -> None:
    """List the devices: memory, fast dtypes, what fits, and what is missing."""
    options = ctx.ensure_object(RunOptions)
    loaded, paths = options.load()
    say_notices(loaded.notices)
    from llama_chat.engine.device_report import advice, list_devices
    from llama_chat.engine.devices import find_device, torch_build

    if "device" in options.flags:
        find_device(loaded.settings.model.device)  # says what is missing, and what to install for it
    found = list_devices()
    fits: list[Fit] | None = None
    if "model" in options.flags:
        from llama_chat.cli.engines import find_or_fetch
        from llama_chat.engine.choose import read_model
        from llama_chat.engine.fitting import list_fits

        settings = loaded.settings.model
        fits = list_fits(read_model(find_or_fetch(loaded.settings, paths), settings.engine), found, settings)
    if as_json:
        click.echo(json.dumps(_as_data(torch_build(), found, advice(), fits), indent=2))
        return
    from llama_chat.cli.tables import painter_for, width_of

    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    for line in _lines(torch_build(), found, advice(), fits, painter, width):
        click.echo(line)


def _as_data(
    build: str, found: list[DeviceFacts], missing: list[str], fits: list[Fit] | None
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "torch": build,
        "devices": [asdict(device) for device in found],
        "missing": missing,
    }
    return data if fits is None else data | {"fits": [asdict(fit) for fit in fits]}


def _lines(
    build: str,
    found: list[DeviceFacts],
    missing: list[str],
    fits: list[Fit] | None,
    painter: Any,
    width: int | None,
) -> list[str]:
    from llama_chat.cli.tables import Column, table_lines
    from llama_chat.engine.memory import gigabytes
    from llama_chat.sanitize import sanitize

    def size(nbytes: int | None) -> str:
        return "?" if nbytes is None else gigabytes(nbytes)

    columns = [
        Column("device"), Column("product", shrinks=True), Column("free", is_right=True),
        Column("memory", is_right=True), Column("fast"), Column("details", shrinks=True),
    ]  # fmt: skip
    rows = [
        [d.name, d.product, size(d.free_bytes), size(d.total_bytes), " ".join(d.fast), d.details]
        for d in found
    ]
    lines = [f"torch {sanitize(build)}", ""]
    lines += table_lines(columns, rows, painter=painter, width=width)
    lines += [f"{d.name}: {sanitize(d.problem)}" for d in found if d.problem]
    if missing:
        lines += ["", *(sanitize(line) for line in missing)]
    if fits is not None:
        columns = [
            Column("device"), Column("dtype"), Column("weights", is_right=True),
            Column("cache", is_right=True), Column("working", is_right=True),
            Column("all", is_right=True), Column("verdict"), Column("largest context", is_right=True),
        ]  # fmt: skip
        rows = [
            [
                fit.device, fit.dtype, size(fit.weights_bytes), size(fit.cache_bytes),
                size(fit.working_bytes), size(fit.total_bytes), fit.verdict,
                "?" if fit.largest_context is None else f"{fit.largest_context:,}",
            ]
            for fit in fits
        ]  # fmt: skip
        context = f"{fits[0].context:,} tokens" if fits else "no device"
        lines += ["", f"With a context of {context}:", ""]
        lines += table_lines(columns, rows, painter=painter, width=width)
        if any(fit.working_bytes is None for fit in fits):
            lines += ["", "transformers runs this model; what is not known (?) is not counted."]
    return lines
