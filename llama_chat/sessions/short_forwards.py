"""The forwards of a plan, written short and read when they are asked for.

Every reply repeats the forwards of the whole talk before it, and a session of 20,000 messages is opened
without a look at any of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import overload

from llama_chat.events import Forward


class ShortForwards(Sequence[Forward]):
    """`p36 s12 p20/18`: a prefill of 36 rows, 12 steps, a prefill of 20 rows of which 18 are kept.

    Each begins where the one before ends. Equal to any sequence of the same forwards.

    Args:
        text: as `short_text` wrote it; it is read at the first use.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._read: tuple[Forward, ...] | None = None

    @property
    def _forwards(self) -> tuple[Forward, ...]:
        if self._read is None:
            self._read = tuple(_forwards_in(self._text))
        return self._read

    @overload
    def __getitem__(self, index: int) -> Forward: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Forward]: ...

    def __getitem__(self, index: int | slice) -> Forward | Sequence[Forward]:
        return self._forwards[index]

    def __len__(self) -> int:
        return len(self._forwards)

    def __eq__(self, other: object) -> bool:
        return self._forwards == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._forwards)

    def __repr__(self) -> str:
        return f"ShortForwards({self._text!r})"


def short_text(forwards: Sequence[Forward]) -> str | None:
    """What `ShortForwards` reads; None where one does not begin where the one before ends."""
    words, start = [], 0
    for forward in forwards:
        if forward.start != start or (forward.kind == "step" and forward.rows != 1):
            return None
        start += forward.kept
        if forward.kind == "step":
            words.append(f"s{forward.kept}")
        else:
            words.append(f"p{forward.rows}" + (f"/{forward.kept}" if forward.kept != forward.rows else ""))
    return " ".join(words)


def _forwards_in(text: str) -> Iterator[Forward]:
    """The forwards up to the end or a damage; where they are too few, ids go on one by one."""
    with contextlib.suppress(ValueError):
        yield from _every_forward(text)


def _every_forward(text: str) -> Iterator[Forward]:
    start = 0
    for word in text.split():
        rows, _, kept = word[1:].partition("/")
        if word[0] == "s":
            forward = Forward(start, 1, int(rows), "step")
        else:
            forward = Forward(start, int(rows), int(kept or rows), "prefill")
        yield forward
        start += forward.kept
