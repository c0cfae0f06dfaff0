"""Steps as data for JSON. Layers and heads count from 1 there, as the command line counts them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from llama_chat.drawing.views import LETTERS, Axis, Comparison, Difference, Grid, StepView, WalkFacts

MOST_VALUES = 100_000
"""Of one grid among others; a step alone has all of them."""


def facts_data(facts: WalkFacts, difference: Difference) -> dict[str, Any]:
    """The model and the text."""
    pairs = zip(facts.token_ids, facts.labels, strict=True)
    return {
        "model": facts.model,
        "dtype": facts.dtype,
        "device": facts.device,
        "tokens": [{"id": token_id, "label": label} for token_id, label in pairs],
        "sizes": {letter: {"name": LETTERS[letter], "size": size} for letter, size in facts.sizes},
        "difference_to_running_path": asdict(difference),
    }


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """What an alteration does to the next token; layers and heads count from 1 in its signature."""
    return asdict(comparison)


def steps_data(views: Iterable[StepView], *, is_whole: bool) -> list[dict[str, Any]]:
    """The steps; large grids without their numbers, unless all are wanted."""
    return [_step_data(view, is_whole=is_whole) for view in views]


def _step_data(view: StepView, *, is_whole: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "number": view.number,
        "name": view.step.name,
        "title": view.step.title,
        "formula": view.step.formula,
        "layer": None if view.layer is None else view.layer + 1,
        "head": None if view.head is None else view.head + 1,
        "explanation": list(view.sentences),
        "shapes": {shape.name: [list(axis) for axis in shape.axes] for shape in view.shapes},
        "tables": [asdict(table) for table in view.tables],
        "bars": [asdict(bars) for bars in view.bars],
        "arrows": [asdict(arrow) for arrow in view.arrows],
    }
    return data | {"grids": [_grid_data(grid, is_whole=is_whole) for grid in view.grids]}


def _grid_data(grid: Grid, *, is_whole: bool) -> dict[str, Any]:
    has_values = is_whole or len(grid.values) <= MOST_VALUES
    rows = [[_number(value) for value in grid.row(n)] for n in range(grid.rows.size)] if has_values else None
    return {
        "title": grid.title,
        "rows": _axis_data(grid.rows),
        "columns": _axis_data(grid.columns),
        "kind": grid.kind,
        "least": grid.least,
        "most": grid.most,
        "values": rows,
    }


def _axis_data(axis: Axis) -> dict[str, Any]:
    return {"letter": axis.letter, "name": axis.name, "size": axis.size, "labels": list(axis.labels)}


def _number(value: float) -> float | None:
    """In the digits that f32 has; null for what the mask cut."""
    return float(f"{value:.7g}") if math.isfinite(value) else None
