"""The row that names the keys while a message has the keyboard, and asks before a letter does something."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from textual.content import Content
from textual.widget import Widget

from llama_chat.ui.widgets.fitting import first_fitting

_LAST = "Esc back"


def key_wordings(keys: Sequence[str]) -> list[str]:
    """The keys with their labels, `r again · e edit`; then with fewer and fewer labels, the last ones first.

    What leaves, Esc, keeps its word the longest, and what is first is named the best.
    """
    shown = list(keys)
    wordings = [_joined(shown)]
    for place in range(len(shown) - 1, -1, -1):
        if shown[place] != _LAST:
            shown[place] = _key_of(shown[place])
            wordings.append(_joined(shown))
    return [*wordings, " ".join(map(_key_of, shown))]


def _joined(shown: Sequence[str]) -> str:
    """With dots between them, but for keys that have lost their labels."""
    groups = groupby(shown, key=lambda words: words == _key_of(words))
    return " · ".join((" " if is_bare else " · ").join(keys) for is_bare, keys in groups)


def _key_of(words: str) -> str:
    return "[ ]" if words.startswith("[ ]") else words.split()[0]


def wish_wordings(key: str, what: str, figures: str = "") -> list[str]:
    """What a letter will do, and how it comes to that; the longest wording first."""
    whole = f"{what}: {figures}" if figures else what
    return [
        f"{key} or Enter: {whole} · Esc: not · other letters: to the prompt",
        f"{key} or Enter: {whole} · Esc: not",
        f"{key} or Enter: {what} · Esc: not",
        f"{key} or Enter: {what}",
        f"{key}: {what}",
    ]


class ActionLine(Widget):
    """One row, as long as there is something to say; no hint takes its place."""

    DEFAULT_CSS = """
    ActionLine { display: none; height: 1; max-width: 104; padding: 0 1; }
    """
    can_focus = False

    def __init__(self) -> None:
        super().__init__()
        self._wordings: Sequence[str] = ()
        self._is_asking = False

    @property
    def text(self) -> str:
        """The whole of what it says; empty where it is not shown."""
        return self._wordings[0] if self._wordings else ""

    def say(self, wordings: Sequence[str], *, is_asking: bool = False) -> None:
        """Show the longest wording that fits; none: take no row.

        Args:
            wordings: the longest first.
            is_asking: whether a letter waits to be pressed again.
        """
        self._wordings, self._is_asking = wordings, is_asking
        self.display = bool(wordings)
        self.refresh()

    def render(self) -> Content:
        """A sign, and what there is room for."""
        sign = "▸ " if self._is_asking else "· "
        words = first_fitting(self._wordings or ("",), max(0, self.content_size.width - len(sign)))
        style = "$text-accent bold" if self._is_asking else "$foreground 70%"
        return Content.styled(sign + words, style)
