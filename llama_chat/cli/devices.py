"""`llama-chat devices`: what torch sees, what fits, and what to install for the rest."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from llama_chat.cli.options import RunOptions, model_options
from llama_chat.cli.talk import say_notices

if TYPE_CHECKING:
    from llama_chat.cli.tables import Painter
    from llama_chat.engine.device_report import DeviceFacts
    from llama_chat.engine.fitting import Fit

_MODEL_HELP = """With --model, each device is held against weights, KV cache and working memory of that model
in every precision, before anything of it is loaded. --context, --device and --dtype narrow that down.
With --engine hf, or of a model that only transformers runs, the working memory is not known, and there is
no int8 and int4. In --json, what is not known is null."""


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
    if loaded.settings.model.engine == "hf":
        from llama_chat.engine.load import FEW_BITS

        found = [replace(device, fast=tuple(d for d in device.fast if d not in FEW_BITS)) for device in found]
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
    from llama_chat.cli.tables import painter_for, width_of, wrapped

    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    parts = [wrapped(f"torch {torch_build()}", width), _device_lines(found, painter, width)]
    parts += [wrapped(line, width) for line in advice()]
    parts += [] if fits is None else [_fit_lines(fits, painter, width)]
    click.echo("\n\n".join("\n".join(part) for part in parts))


def _as_data(
    build: str, found: list[DeviceFacts], missing: list[str], fits: list[Fit] | None
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "torch": build,
        "devices": [asdict(device) for device in found],
        "missing": missing,
    }
    return data if fits is None else data | {"fits": [asdict(fit) for fit in fits]}


def _device_lines(found: list[DeviceFacts], painter: Painter, width: int | None) -> list[str]:
    """A row for each, and below the table what is too long for a cell."""
    from llama_chat.cli.tables import Column, at_words, table_lines, wrapped

    columns = [
        Column("device"), Column("product", wraps=at_words), Column("free", is_right=True),
        Column("memory", is_right=True), Column("fast", wraps=at_words),
    ]  # fmt: skip
    rows = [[d.name, d.product, _size(d.free_bytes), _size(d.total_bytes), " ".join(d.fast)] for d in found]
    lines = [*table_lines(columns, rows, painter=painter, width=width), ""]
    for device in found:
        for words in filter(None, (device.details, device.problem)):
            lines += wrapped(f"{device.name}: {words}", width)
    return lines


def _fit_lines(fits: list[Fit], painter: Painter, width: int | None) -> list[str]:
    from llama_chat.cli.tables import Column, at_words, table_lines, wrapped

    columns = [
        Column("device"), Column("dtype"), Column("weights", is_right=True), Column("cache", is_right=True),
        Column("working", is_right=True), Column("all", is_right=True), Column("verdict", wraps=at_words),
        Column("largest context", is_right=True, wraps=at_words),
    ]  # fmt: skip
    rows = [
        [
            fit.device, fit.dtype, _size(fit.weights_bytes), _size(fit.cache_bytes),
            _size(fit.working_bytes), _size(fit.total_bytes), fit.verdict,
            "?" if fit.largest_context is None else f"{fit.largest_context:,}",
        ]
        for fit in fits
    ]  # fmt: skip
    context = f"{fits[0].context:,} tokens" if fits else "no device"
    lines = [f"With a context of {context}:", ""]
    lines += table_lines(columns, rows, painter=painter, width=width)
    if any(fit.working_bytes is None for fit in fits):
        note = "transformers runs this model; what is not known (?) is not counted."
        lines += ["", *wrapped(note, width)]
    return lines


def _size(nbytes: int | None) -> str:
    from llama_chat.units import about_bytes

    return "?" if nbytes is None else about_bytes(nbytes)
