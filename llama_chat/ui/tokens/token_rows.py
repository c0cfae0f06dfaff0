"""Tokens laid out in rows, once for a width: which row each is in, and where in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from rich.cells import cell_len

from llama_chat.chat.tokens.sheet import shown_token
from llama_chat.events import Token
from llama_chat.ui.widgets.fitting import cut

MOST_CARRIED_CELLS = 24
"""A longer beginning of a word is not carried to the next row."""


class TokenRows:
    """Grows at its end; a word that does not fit goes to the next row as a whole.

    Args:
        width: cells of a row.
    """

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.texts: list[str] = []
        """As they are drawn, by place."""
        self._cells: list[int] = []
        self._starts = [0]
        self._used = 0
        self._word = 0
        self._word_at = 0

    def extend(self, tokens: Iterable[Token]) -> None:
        """Lay these out behind what is there: 10,000 in about 20 ms."""
        width, starts, cells = self.width, self._starts, self._cells
        for place, token in enumerate(tokens, len(self.texts)):
            text = shown_token(token)
            wide = len(text) if text.isascii() else cell_len(text)
            if wide > width:
                text = cut(text, width)
                wide = cell_len(text)
            if text[:1] == " ":
                self._word, self._word_at = place, self._used
            if self._used + wide > width and place > starts[-1]:
                self._begin_row(place)
                if not self._used and wide > 1 and text[0] == " ":
                    text, wide = text[1:], wide - 1
            self.texts.append(text)
            cells.append(wide)
            self._used += wide
            if token.text.endswith("\n"):
                starts.append(place + 1)
                self._used = 0
                self._word, self._word_at = place + 1, 0

    def _begin_row(self, place: int) -> None:
        """A row begins with this token, or with its word."""
        begin = place
        if self._word > self._starts[-1] and self._used - self._word_at <= min(
            MOST_CARRIED_CELLS, self.width // 2
        ):
            begin = self._word
        self._starts.append(begin)
        if begin < place and len(self.texts[begin]) > 1 and self.texts[begin][0] == " ":
            self.texts[begin] = self.texts[begin][1:]  # as prose: a row begins with its first letter
            self._cells[begin] -= 1
        self._used = sum(self._cells[begin:place])
        self._word, self._word_at = begin, 0

    def __len__(self) -> int:
        """Rows."""
        is_last_empty = len(self._starts) > 1 and self._starts[-1] >= len(self.texts)
        return len(self._starts) - is_last_empty

    def places(self, row: int) -> range:
        """The tokens of a row."""
        end = self._starts[row + 1] if row + 1 < len(self._starts) else len(self.texts)
        return range(self._starts[row], end)

    def row_of(self, place: int) -> int:
        """The row that a token is in."""
        return min(bisect_right(self._starts, place) - 1, len(self) - 1)

    def cell_of(self, place: int) -> int:
        """The cell of its row that a token begins in."""
        return sum(self._cells[self._starts[self.row_of(place)] : place])

    def cells(self, place: int) -> int:
        """How wide a token is."""
        return self._cells[place]

    def at(self, row: int, cell: int) -> int | None:
        """The token there, or the last of the row; None where there is no such row."""
        if not 0 <= row < len(self) or not self.texts:
            return None
        used = 0
        for place in self.places(row):
            used += self._cells[place]
            if cell < used:
                return place
        return max(self._starts[row], self.places(row).stop - 1)
