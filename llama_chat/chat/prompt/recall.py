"""Going through what was said before, as in a shell: what is typed already is how it must begin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_NOT_KEPT = frozenset({"/history", "/queue", "/editor"})
"""Commands about the prompt itself: nobody looks for them."""


class Said:
    """What was said and which commands were given in this run; what the store knows comes before it."""

    def __init__(self) -> None:
        self._here: list[str] = []

    def add(self, text: str) -> None:
        """The newest words."""
        if text.strip() and text.split(maxsplit=1)[0] not in _NOT_KEPT:
            self._here.append(text)

    def with_stored(self, stored: Iterable[str]) -> list[str]:
        """All of it, the newest first, each text once."""
        return list(dict.fromkeys((*reversed(self._here), *stored)))


class Walk:
    """One walk from a draft to older words and back.

    Args:
        said: the newest first.
        draft: what stood in the prompt, and is what the words begin with.
    """

    def __init__(self, said: Sequence[str], draft: str) -> None:
        self._steps = [text for text in said if text.startswith(draft) and text != draft]
        self._draft = draft
        self._place = -1

    @property
    def is_at_draft(self) -> bool:
        """Whether nothing older is shown."""
        return self._place < 0

    @property
    def text(self) -> str:
        """What is shown now."""
        return self._draft if self._place < 0 else self._steps[self._place]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def go_to(self, text: str) -> None:
        """Show these words, which are among them."""
        self._place = self._steps.index(text)

    def step(self, by: int) -> bool:
        """Go to older words, or with -1 to newer ones; whether there are some."""
        place = self._place + by
        if not -1 <= place < len(self._steps):
            return False
        self._place = place
        return True
