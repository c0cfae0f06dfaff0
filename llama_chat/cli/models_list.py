"""`llama-chat models list`: every shelf, with what the headers of each model say."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from llama_chat.catalogue import ModelFile
from llama_chat.paths import Paths
from llama_chat.units import bytes_text

if TYPE_CHECKING:
    from llama_chat.shelves.facts import Facts
    from llama_chat.shelves.listing import FoundModel
    from llama_chat.shelves.used import UsedModel


def print_models(paths: Paths, *, as_json: bool) -> None:
    """Print them, grouped by where they lie.

    Raises:
        ModelError: the models folder cannot be looked at.
    """
    from llama_chat.shelves.facts import KnownFacts
    from llama_chat.shelves.listing import facts_file, facts_of, list_found, used_file
    from llama_chat.shelves.used import UsedModels, speed_of

    known, used = KnownFacts(facts_file(paths)), UsedModels(used_file(paths)).list()
    found = list_found(paths)
    facts = [facts_of(model, known) for model in found]
    known.save()
    speeds = [speed_of(used, model.path) if model.path else None for model in found]
    rows = list(zip(found, facts, speeds, strict=True))
    if as_json:
        click.echo(json.dumps([_as_data(*row) for row in rows], indent=2))
    else:
        click.echo("\n".join(_lines(rows)))


def as_data(model: ModelFile) -> dict[str, Any]:
    """The model for JSON; what is not known is null."""
    entry = model.entry
    return {
        "name": model.name,
        "title": entry.title if entry else None,
        "path": str(model.path) if model.path else None,
        "is_here": model.path is not None,
        "is_default": model.is_default,
        "size_bytes": model.size_bytes,
        "sha256": entry.sha256 if entry else None,
        "licence": entry.licence if entry else None,
        "source": f"{entry.package} {entry.version}" if entry else model.hub.page if model.hub else None,
        "commit": model.commit or None,
        "missing": list(model.missing) or None,
    }


def _as_data(model: FoundModel, facts: Facts, speed: UsedModel | None) -> dict[str, Any]:
    file = model.file or ModelFile(model.name, model.path, model.size_bytes)
    said = {name: value or None for name, value in asdict(facts).items() if name != "has_template"}
    return as_data(file) | {
        "shelf": model.shelf,
        **said,
        "has_chat_template": facts.has_template if facts.architecture else None,
        "last_tok_per_s": speed.tok_per_s if speed else None,
        "last_device": speed.device if speed else None,
    }


def _lines(rows: list[tuple[FoundModel, Facts, UsedModel | None]]) -> list[str]:
    from llama_chat.cli.tables import Column, at_words, painter_for, table_lines, width_of
    from llama_chat.shelves.listing import SHELF_TITLES

    columns = [
        Column(shrinks=True), Column(is_right=True, goes=3), Column(goes=4), Column(is_right=True, goes=2),
        Column(is_right=True, goes=1), Column(wraps=at_words),
    ]  # fmt: skip
    painter, width = painter_for(sys.stdout, os.environ), width_of(sys.stdout)
    lines: list[str] = []
    for shelf, title in SHELF_TITLES.items():
        if cells := [_cells(*row) for row in rows if row[0].shelf == shelf]:
            lines += [*([""] if lines else []), painter.bold(title)]
            lines += table_lines(columns, cells, width=width, indent="  ")
    return lines


def _cells(model: FoundModel, facts: Facts, speed: UsedModel | None) -> list[str]:
    return [
        model.name,
        bytes_text(model.size_bytes) if model.size_bytes else "?",
        facts.quantisation,
        f"{facts.context_length:,}" if facts.context_length else "",
        f"{speed.tok_per_s:.0f} tok/s" if speed else "",
        ", ".join(_notes(model, facts)),
    ]


def _notes(model: FoundModel, facts: Facts) -> list[str]:
    entry = model.file.entry if model.file else None
    notes = ["default"] if model.is_default else []
    notes += [entry.licence] if entry else []
    if model.problem or facts.problem:
        return [*notes, model.problem or facts.problem]
    if facts.engine == "hf":
        notes.append(f"{facts.architecture}: with transformers")
    if facts.engine and not facts.has_template:
        notes.append("no chat template")
    return notes
