"""All keys, from the table that the bindings are made of."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llama_chat.ui.keys import KEY_ACTIONS, SLIDER_KEYS, key_name
from llama_chat.ui.screens.modal import Card

KEY_CELLS = 16


def help_content() -> Content:
    """Every key with what it does, under headings."""
    lines: list[Content] = []
    for group in dict.fromkeys(action.group for action in KEY_ACTIONS):
        lines += [Content(""), Content.assemble((group, "$primary bold"))]
        for action in KEY_ACTIONS:
            if action.group == group:
                names = " ".join(key_name(key) for key in action.keys[:2]) or action.command
                command = f"  {action.command}" if action.keys and action.command else ""
                lines.append(_line(names, action.help, command))
    lines += [Content(""), Content.assemble(("Sliders", "$primary bold"))]
    lines += [_line(names, f"{what[0].upper()}{what[1:]}.") for names, what in SLIDER_KEYS]
    return Content("\n").join(lines[1:])


def _line(keys: str, what: str, command: str = "") -> Content:
    return Content.assemble(
        (keys.ljust(KEY_CELLS), "$foreground bold"), (what, "$foreground 70%"), (command, "$accent 80%")
    )


class KeyHelpScreen(Card[None]):
    """A card that scrolls; any of the keys that opened it closes it."""

    DEFAULT_CSS = """
    KeyHelpScreen > .card { width: 96; height: 80%; }
    KeyHelpScreen VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,q,enter", "leave", "Back", show=False)]

    def compose(self) -> ComposeResult:
        """Title, keys, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Keys"), classes="title")
            with VerticalScroll():
                yield Static(help_content())
            yield Static(Content("Every /command can be typed into the prompt · Esc back"), classes="hint")
