"""Names of the files that one model is split over.

`model-00001-of-00004.safetensors` (and GGUF's and PyTorch's like it) say how many there are;
`consolidated.00.pth`, Meta's, do not.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

INDEX_ENDING = ".safetensors.index.json"
"""Of the file that says which part has which tensor."""
ORIGINAL = "original"
"""The folder in which Meta's repositories on the Hub keep their own format."""
MAX_SHARDS = 1024
_MOST_PARTS = 10_000  # more are not named one by one

_PART = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.(gguf|safetensors|bin|pth?)", re.IGNORECASE)
_SHARD = re.compile(r"consolidated\.([0-9]{2,4})\.pth")


@dataclass(frozen=True, slots=True)
class PartName:
    """The name of one of several files, taken apart."""

    stem: str
    number: int
    """From 1."""
    count: int
    ending: str

    @property
    def whole(self) -> str:
        """What the model would be called in one file."""
        return f"{self.stem}.{self.ending}"

    def sibling(self, number: int) -> str:
        """The name of another of the files."""
        return f"{self.stem}-{number:05}-of-{self.count:05}.{self.ending}"


def part_name(name: str) -> PartName | None:
    """The name taken apart, folders before it being in the stem; None for a file that is no part."""
    found = _PART.fullmatch(name)
    return PartName(found[1], int(found[2]), int(found[3]), found[4]) if found else None


def missing_parts(names: Collection[str]) -> list[str]:
    """The parts that these, which are of one model, say there are, and which are not among them."""
    part = part_name(next(iter(names)))
    if part is None:
        return []
    if part.count > _MOST_PARTS:
        return [f"{part.stem}-…-of-{part.count}.{part.ending}"]
    wanted = map(part.sibling, range(1, part.count + 1))
    have = set(names)
    return [name for name in wanted if name not in have]


def shard_number(name: str) -> int | None:
    """The number, from 0, of one of Meta's shards; None for any other file."""
    found = _SHARD.fullmatch(name)
    return int(found[1]) if found else None


def missing_shards(names: Collection[str], count: int = 0) -> list[str]:
    """Meta's shards that are not among these: below the last of them, or of so many.

    Args:
        names: shards of one model.
        count: how many there are, where anybody knows.
    """
    have = {number: name for name in names if (number := shard_number(name)) is not None}
    last = max(have, default=0)
    digits = len(have[last].split(".")[1]) if have else 2
    wanted = range(min(max(last + 1, count), MAX_SHARDS))
    return [f"consolidated.{number:0{digits}}.pth" for number in wanted if number not in have]
