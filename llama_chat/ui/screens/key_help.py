"""All keys, from the table that the bindings are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from llama_chat.chat.keys import KEY_ACTIONS, KeyAction
from llama_chat.chat.keys.inside import LETTERS_HELP, SESSION_KEYS, SLIDER_KEYS, TRANSCRIPT_KEYS
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine

KEY_CELLS = 12
TWO_COLUMNS_CELLS = 110
"""From here on there is room for two columns."""
_COLUMN_GAP = 4
_HINTS = ("↑ ↓ scroll · every /command can be typed into the prompt · Esc back", "↑ ↓ scroll · Esc back")


def help_lines(width: int, actions: Sequence[KeyAction] = KEY_ACTIONS) -> list[Content]:
    """Every key with what it does, under headings."""
    lines: list[Content] = []
    for group in dict.fromkeys(action.group for action in actions):
        lines += [Content(""), Content.assemble((group, "$primary bold"))]
        for action in actions:
            if action.group == group:
                ways = [*action.key_names, *filter(None, [action.command])] or ["no key"]
                lines += _entry(ways[0], action.help, ways[1:], width)
    lines += [Content(""), Content.assemble(("A chosen message", "$primary bold"))]
    for key in TRANSCRIPT_KEYS:
        lines += _entry(key.name, f"{key.what[0].upper()}{key.what[1:]}.", (), width)
    for names, what in LETTERS_HELP:
        lines += _entry(names, f"{what[0].upper()}{what[1:]}.", (), width)
    lines += [Content(""), Content.assemble(("Sliders", "$primary bold"))]
    for names, what in SLIDER_KEYS:
        lines += _entry(names, f"{what[0].upper()}{what[1:]}.", (), width)
    lines += [Content(""), Content.assemble(("List of sessions", "$primary bold"))]
    for names, what in SESSION_KEYS:
        lines += _entry(names, f"{what[0].upper()}{what[1:]}.", (), width)
    return lines[1:]


def help_rows(width: int, actions: Sequence[KeyAction] = KEY_ACTIONS) -> list[Content]:
    """The same lines, where there is room in two columns, parted at a heading."""
    if width < TWO_COLUMNS_CELLS:
        return help_lines(width, actions)
    cells = (width - _COLUMN_GAP) // 2
    lines = help_lines(cells, actions)
    breaks = [n for n, line in enumerate(lines) if not line.plain]
    cut = min(breaks, key=lambda n: max(n, len(lines) - n - 1))
    left, right = lines[:cut], lines[cut + 1 :]
    rows = zip_longest(left, right, fillvalue=Content(""))
    return [
        Content.assemble(one, " " * (cells + _COLUMN_GAP - one.cell_length), other) for one, other in rows
    ]


def _entry(key: str, what: str, others: Sequence[str], width: int) -> list[Content]:
    also = f"also {', '.join(others)}" if others else ""
    text = Content.assemble((what, "$foreground 70%"), (f" · {also}" if also else "", "$accent 80%"))
    wrapped = text.wrap(max(10, width - KEY_CELLS))
    names = [
        Content.assemble((key.ljust(KEY_CELLS), "$foreground bold")),
        *[Content(" " * KEY_CELLS)] * len(wrapped),
    ]
    return [name + line for name, line in zip(names, wrapped, strict=False)]


class KeyList(Widget):
    """The keys, wrapped beside their names, in one column or two."""

    DEFAULT_CSS = """
    KeyList { height: auto; }
    """

    def __init__(self, actions: Sequence[KeyAction]) -> None:
        super().__init__()
        self._actions = actions

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  (Textual's)
        """As many lines as it takes."""
        return len(help_rows(width, self._actions))

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(help_rows(self.content_size.width, self._actions))


class KeyHelpScreen(Card[None]):
    """A card that scrolls; any of the keys that opened it closes it.

    Args:
        actions: the keys in force.
    """

    DEFAULT_CSS = """
    KeyHelpScreen > .card { width: 96; height: 100%; }
    KeyHelpScreen.-wide > .card { width: 100%; max-width: 100%; }
    KeyHelpScreen VerticalScroll {
        height: 1fr;
        padding: 0 1;
        scrollbar-size-vertical: 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,q,enter", "leave", "Back", show=False)]

    def __init__(self, actions: Sequence[KeyAction] = KEY_ACTIONS) -> None:
        super().__init__()
        self._actions = actions
        keys = next((action.keys for action in actions if action.action == "key_help"), ())
        for key in keys:
            self._bindings.bind(key, "leave", "Back", show=False)

    def compose(self) -> ComposeResult:
        """Title, keys, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Keys"), classes="title")
            with VerticalScroll():
                yield KeyList(self._actions)
            yield FittingLine(*_HINTS, classes="hint")
