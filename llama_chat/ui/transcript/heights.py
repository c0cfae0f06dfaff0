"""Where each entry begins: sums of heights, some of them estimates."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from llama_chat.ui.transcript.entries import Entry


class Heights:
    """The first row of every entry, counted from the top of the transcript."""

    def __init__(self) -> None:
        self._starts = [0]

    @property
    def total(self) -> int:
        """Rows of the whole transcript."""
        return self._starts[-1]

    def start(self, index: int) -> int:
        """The first row of the entry."""
        return self._starts[index]

    def recount(self, entries: Sequence[Entry], first: int = 0) -> None:
        """Sum up again from this entry on."""
        first = min(first, len(self._starts) - 1)
        start = self._starts[first]
        del self._starts[first:]
        self._starts.extend(accumulate((entry.height for entry in entries[first:]), initial=start))

    def find(self, row: int) -> int:
        """The index of the entry that this row belongs to; the number of entries for rows below the last."""
        return min(bisect_right(self._starts, max(0, row)) - 1, len(self._starts) - 1)
