"""All keys of the replay, on a card."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from llama_chat.ui.replay.keys import REPLAY_KEYS
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine

KEY_CELLS = 9


def help_lines(width: int) -> list[Content]:
    """Every key with what it does."""
    lines: list[Content] = []
    for key in REPLAY_KEYS:
        if key.shown:
            wrapped = Content.styled(key.help, "$foreground 70%").wrap(max(10, width - KEY_CELLS))
            names = [key.shown.ljust(KEY_CELLS), *[" " * KEY_CELLS] * (len(wrapped) - 1)]
            lines += [
                Content.styled(name, "$foreground bold") + line
                for name, line in zip(names, wrapped, strict=True)
            ]
    return lines


class ReplayKeyList(Widget):
    """The keys, wrapped beside their names."""

    DEFAULT_CSS = """
    ReplayKeyList { height: auto; }
    """

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  (Textual's)
        """As many lines as it takes."""
        return len(help_lines(width))

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(help_lines(self.content_size.width))


class ReplayHelp(Card[None]):
    """A card that scrolls; any of the keys that opened it closes it."""

    DEFAULT_CSS = """
    ReplayHelp > .card { width: 76; height: 100%; max-height: 24; }
    ReplayHelp VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,question_mark,q,enter", "leave", "Back", show=False)]

    def compose(self) -> ComposeResult:
        """Title, keys, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Keys of the replay"), classes="title")
            with VerticalScroll():
                yield ReplayKeyList()
            yield FittingLine(
                "↑ ↓ scroll · a click on the bar goes there · Esc back", "Esc back", classes="hint"
            )
