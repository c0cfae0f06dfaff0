"""Words in a chat: where they stand in a text, whatever their case and the line breaks between them."""

from __future__ import annotations

import re

_BETWEEN = r"[\s*_`~]+"
"""What may stand between two words, so that marks of emphasis do not hide a phrase."""


class Needle:
    """What is looked for.

    Args:
        words: as they were typed; where they have spaces, the text may have line breaks.
    """

    def __init__(self, words: str) -> None:
        self.words = words
        parts = fold_case(words).split()
        self._word = parts[0] if len(parts) == 1 else ""
        self._pattern = re.compile(_BETWEEN.join(map(re.escape, parts)))
        self._is_empty = not parts

    def __bool__(self) -> bool:
        return not self._is_empty

    def count(self, folded: str) -> int:
        """How often they stand in a text that went through `fold_case`."""
        if self._is_empty:
            return 0
        if self._word:
            return folded.count(self._word)
        return sum(1 for _ in self._pattern.finditer(folded))

    def spans(self, folded: str) -> list[tuple[int, int]]:
        """Where they begin and end in a text that went through `fold_case`."""
        return [] if self._is_empty else [found.span() for found in self._pattern.finditer(folded)]


def fold_case(text: str) -> str:
    """The text in small letters, every character in its place."""
    folded = text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(small if len(small := each.lower()) == 1 else each for each in text)  # "İ" has two
