"""Tensor names as a tree: numbered groups that are alike are folded into one, `model.layers.0..31`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from llama_chat.engine.inspect.listing import TensorRow

# Layers, and experts in them. Deeper numbers stay parts of a name: names come out of the file.
_MAX_DEPTH = 3
_MAX_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor under what is left of its name below its group."""

    label: str
    row: TensorRow
    """Its bytes are those of all of them."""
    times: int = 1
    """Files that have one like it: Meta's shards each have a share of every tensor."""


@dataclass(frozen=True, slots=True)
class Group:
    """What is below `prefix.number`, which is alike for all the numbers."""

    prefix: str
    numbers: tuple[int, ...]
    children: tuple[Node, ...]
    nbytes: int
    """Of all of them together."""

    @property
    def label(self) -> str:
        """`model.layers.0..31`."""
        return f"{self.prefix}.{number_ranges(self.numbers)}"


Node: TypeAlias = Leaf | Group


class _Named(NamedTuple):
    """A tensor under what is left of its name."""

    name: str
    row: TensorRow
    times: int


def fold(rows: Iterable[TensorRow], *, folds: bool = True) -> tuple[Node, ...]:
    """The tree of the tensors, in the order of the file; groups stand where their first tensor does.

    Args:
        rows: of one file or model.
        folds: whether groups with the same names, shapes and types become one.
    """
    merged: dict[object, _Named] = {}
    for row in rows:
        look = (row.name, row.shape, row.type_name)
        if like := merged.get(look):
            row = replace(row, nbytes=row.nbytes + like.row.nbytes)
        merged[look] = _Named(row.name, row, like.times + 1 if like else 1)
    return _nodes(list(merged.values()), folds, _MAX_DEPTH)


def number_ranges(numbers: Sequence[int]) -> str:
    """`0..3, 6, 8..31`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in runs)


def _nodes(named: Sequence[_Named], folds: bool, depth: int) -> tuple[Node, ...]:
    """Leaves as they come, and at the first tensor of every numbered prefix all groups of that prefix."""
    leaves: list[tuple[str, Leaf | None]] = []
    numbered: dict[str, dict[int, list[_Named]]] = {}
    for each in named:
        split = _split_at_number(each.name) if depth else None
        if split is None:
            leaves.append(("", Leaf(*each)))
            continue
        prefix, number, rest = split
        if prefix not in numbered:
            leaves.append((prefix, None))
        numbered.setdefault(prefix, {}).setdefault(number, []).append(each._replace(name=rest))
    found: list[Node] = []
    for prefix, leaf in leaves:
        found += [leaf] if leaf else _groups(prefix, numbered[prefix], folds, depth)
    return tuple(found)


def _groups(prefix: str, members: dict[int, list[_Named]], folds: bool, depth: int) -> list[Group]:
    alike: dict[object, list[int]] = {}
    for number in sorted(members):
        look = frozenset((name, row.shape, row.type_name, times) for name, row, times in members[number])
        alike.setdefault(look if folds else number, []).append(number)
    return [
        Group(
            prefix,
            tuple(numbers),
            _nodes(members[numbers[0]], folds, depth - 1),
            sum(each.row.nbytes for number in numbers for each in members[number]),
        )
        for numbers in alike.values()
    ]


def _split_at_number(name: str) -> tuple[str, int, str] | None:
    """`model.layers.3.mlp.up` as (`model.layers`, 3, `mlp.up`); None without such a number inside."""
    parts = name.split(".")
    for n in range(1, len(parts) - 1):
        part = parts[n]
        is_number = part.isascii() and part.isdigit() and len(part) <= _MAX_DIGITS
        if is_number and (part == "0" or part[0] != "0"):
            return ".".join(parts[:n]), int(part), ".".join(parts[n + 1 :])
    return None
