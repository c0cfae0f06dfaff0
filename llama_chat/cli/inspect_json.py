"""What `llama-chat inspect` found, as JSON has it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_chat.engine.inspect.chosen import Chosen
    from llama_chat.engine.inspect.listing import Listing, Part, TensorRow

LONGEST_LIST = 64
"""Longer ones, such as a vocabulary in GGUF's metadata, are given by their length and beginning."""


def as_data(listing: Listing, chosen: Iterable[Chosen]) -> dict[str, Any]:
    """The listing, and the figures of the tensors that were asked for; what is not known is null.

    Numbers that JSON lacks are the texts `NaN`, `Infinity` and `-Infinity`.
    """
    found = {
        "path": str(listing.path),
        "parts": [_part(part) for part in listing.parts],
        "documents": {name: dict(document) for name, document in listing.documents.items()},
        "tokenizers": [asdict(facts) for facts in listing.tokenizers],
        "statistics": [_chosen(each) for each in chosen],
        "notices": list(listing.notices),
        "problems": list(listing.problems),
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _part(part: Part) -> dict[str, Any]:
    return {
        "format": part.format,
        "files": [path.name for path in part.files],
        "file_count": part.file_count,
        "totals": asdict(part.totals),
        "metadata": {key: _shortened(value) for key, value in part.metadata.items()},
        "tensors": [_tensor(row) for row in part.tensors],
    }


def _tensor(row: TensorRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "gguf_name": row.gguf_name,
        "shape": list(row.shape),
        "type": row.type_name,
        "nbytes": row.nbytes,
        "file": row.file,
        "shares": row.shares,
    }


def _chosen(found: Chosen) -> dict[str, Any]:
    figures = asdict(found.statistics) if found.statistics else {"problem": found.problem}
    return _tensor(found.row) | figures


def _shortened(value: Any) -> Any:
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        return {"length": len(value), "first": value[:8]}
    return value


def _plain(value: Any) -> Any:
    """The value in JSON's own kinds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
