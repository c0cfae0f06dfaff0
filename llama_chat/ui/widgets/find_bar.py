"""The line above the prompt that words are typed into which are looked for in this chat."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from llama_chat.ui.widgets.fitting import FittingLine


def _wordings(count: str) -> list[str]:
    """The count and the keys, the longest first."""
    if not count:
        return ["Esc closes", "Esc"]
    return [f"{count}   Enter next · ↑ previous · Esc", f"{count}   Enter ↑ Esc", count]


class FindBar(Horizontal):
    """What is looked for, which hit of how many is the current one, and the keys.

    Args:
        words: what is looked for at first.
    """

    DEFAULT_CSS = """
    FindBar {
        height: 1;
        max-width: 104;
        padding: 0 2;
        & > #find-label { width: auto; color: $text-accent; text-style: bold; }
        & > Input {
            width: 2fr;
            height: 1;
            border: none;
            padding: 0;
            background: transparent;
            &:focus { border: none; background-tint: $foreground 0%; }
        }
        & > FittingLine { width: 3fr; margin: 0 0 0 1; color: $foreground 60%; text-align: right; }
        & > FittingLine.-none { color: $text-warning; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,f3,ctrl+l", "go(1)", show=False),
        Binding("up,shift+enter,shift+f3", "go(-1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    class Changed(Message):
        """Other words are looked for."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    class Moved(Message):
        """The next hit is wanted (1), or the one before (-1)."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Left(Message):
        """No more is looked for."""

    def __init__(self, words: str = "") -> None:
        super().__init__()
        self._first_words = words

    def compose(self) -> ComposeResult:
        """Label, words, count, keys."""
        yield Static(Content("find "), id="find-label")
        yield Input(placeholder="words in this chat…", compact=True, select_on_focus=False)
        yield FittingLine(*_wordings(""))

    def on_mount(self) -> None:
        """Begin to look."""
        self.look_for(self._first_words)

    def look_for(self, words: str) -> None:
        """Take these words, or let those that are there be typed over; the keys go here from now on."""
        self.display = True
        line = self.query_one(Input)
        if words:
            line.value = words
        self.screen.set_focus(line)  # now: a focus that waits could come after that of somebody else
        self.post_message(self.Changed(line.value))  # a bar that was closed holds what it held
        line.action_end() if words else line.action_select_all()

    def show(self, place: int, total: int) -> None:
        """Say which hit of how many is the current one."""
        line = self.query_one(FittingLine)
        is_none = not total and bool(self.query_one(Input).value.strip())
        line.set_class(is_none, "-none")
        line.say(*_wordings(f"{place:,} of {total:,}" if total else "nothing found" if is_none else ""))

    @on(Input.Changed)
    def _take_words(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _go_on(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_go(1)

    def action_go(self, step: int) -> None:
        """Ask for the next hit, or the one before."""
        self.post_message(self.Moved(step))

    def action_leave(self) -> None:
        """Look for nothing any more."""
        self.post_message(self.Left())
