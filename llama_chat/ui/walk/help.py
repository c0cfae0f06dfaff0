"""All keys of the walk, on a card."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine

KEY_CELLS = 12
WALK_KEYS = (
    ("↑ ↓", "The step before, the next one."),
    ("[ ]", "The layer before, the next one."),
    (", .", "The head before, the next one."),
    ("v", "The next picture of the step: heat map, arrows, table."),
    ("Tab", "The keyboard to the picture, to the words, back to the steps."),
    ("← → ↑ ↓", "In the picture: move the cursor over the map; the line below names what it is on."),
    ("+ -", "Look at a heat map from nearer, from further away."),
    ("t", "Choose a token: ← → marks one, Enter walks from there, as if the text ended with it."),
    ("f", "The head that looks most at the marked token; again: the one that does so second, and so on."),
    ("x X", "Switch the head off or on, the layer: what it does to the next token is shown at once."),
    ("z Z", "The next factor for the head, for the layer: half, double, the opposite, off, as it is."),
    ("h", "What each head does to the next token: each is switched off by itself. x there switches one off."),
    ("u", "All heads and layers as they are."),
    ("Enter", "Let the chat run as the walk does, from the next reply on."),
    ("e", "Write a picture of this step into a file (SVG)."),
    ("E", "Write this step with its words into a page (HTML)."),
    ("Esc", "Back to the chat."),
)


def help_lines(width: int) -> list[Content]:
    """Every key with what it does."""
    lines: list[Content] = []
    for key, what in WALK_KEYS:
        wrapped = Content.styled(what, "$foreground 70%").wrap(max(10, width - KEY_CELLS))
        names = [key.ljust(KEY_CELLS), *[" " * KEY_CELLS] * (len(wrapped) - 1)]
        pairs = zip(names, wrapped, strict=True)
        lines += [Content.styled(name, "$foreground bold") + line for name, line in pairs]
    return lines


class WalkKeyList(Widget):
    """The keys, wrapped beside their names."""

    DEFAULT_CSS = """
    WalkKeyList { height: auto; }
    """

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  (Textual's)
        """As many lines as it takes."""
        return len(help_lines(width))

    def render(self) -> Content:
        """All lines."""
        return Content("\n").join(help_lines(self.content_size.width))


class WalkHelp(Card[None]):
    """A card that scrolls; any of the keys that opened it closes it."""

    DEFAULT_CSS = """
    WalkHelp > .card { width: 84; height: 100%; max-height: 28; }
    WalkHelp VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,question_mark,q,enter", "leave", "Back", show=False)]

    def compose(self) -> ComposeResult:
        """Title, keys, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Keys of the walk"), classes="title")
            with VerticalScroll():
                yield WalkKeyList()
            yield FittingLine("↑ ↓ scroll · Esc back", "Esc back", classes="hint")
