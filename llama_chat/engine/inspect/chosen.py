"""Tensors that a user named by globs, and the figures of their values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from llama_chat.engine.files.checkpoint import shown
from llama_chat.engine.inspect.listing import Listing, Part, TensorRow
from llama_chat.engine.inspect.statistics import TensorStatistics, tensor_statistics
from llama_chat.errors import ModelError


@dataclass(frozen=True, slots=True)
class Chosen:
    """One tensor with its figures, or why they cannot be had."""

    row: TensorRow
    statistics: TensorStatistics | None
    problem: str = ""


def chosen_tensors(listing: Listing, globs: Sequence[str]) -> list[tuple[Part, TensorRow]]:
    """The tensors that the globs mean, each once, in the order of the files.

    Raises:
        ModelError: a glob means none of them.
    """
    for glob in globs:
        if not listing.matching([glob]):
            raise ModelError(f"No tensor is called '{shown(glob)}'.", hint=_nearest(listing, glob))
    return listing.matching(globs)


def read_chosen(tensors: Iterable[tuple[Part, TensorRow]]) -> Iterator[Chosen]:
    """Each tensor with its figures, as soon as it has been read."""
    for part, row in tensors:
        try:
            yield Chosen(row, tensor_statistics(partial(part.slices, row)))
        except ModelError as error:
            yield Chosen(row, None, error.message)


def _nearest(listing: Listing, glob: str) -> str:
    names = list(dict.fromkeys(row.name for part in listing.parts for row in part.tensors))
    near = difflib.get_close_matches(glob, names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean '{shown(near[0])}'?"
    return "llama-chat inspect PATH lists the names; in a glob, * stands for anything."
