"""The name of a model's file, taken apart: what people call the model, and the type of its weights."""

from __future__ import annotations

import re

# How files name the type of their weights; the engine cuts the same endings off the name that it gives.
_TYPE_ENDING = re.compile(r"[.-](I?Q\d\w*|TQ\d\w*|MXFP4|BF16|F16|F32)$", re.IGNORECASE)


def name_and_type(label: str) -> list[str]:
    """A file's name as that of the model and the type of its weights, where it tells the type."""
    name, *rest = _TYPE_ENDING.split(label)
    return [name, rest[0].upper()] if name and rest else [label]
