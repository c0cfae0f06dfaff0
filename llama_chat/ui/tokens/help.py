"""All keys of the tokens, on a card, and what is seen there."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine

TOKEN_KEYS = (
    ("← →", "The token before, the next one; a click goes to a token."),
    ("↑ ↓", "The row above, the one below; Home and End: the first token, the last."),
    ("^← ^→", "The word before, the next one."),
    ("⇧→ ⇧←", "The least likely token, from there the next likely one; and back."),
    ("Enter", "To what else it could have been; there ↑ ↓ choose, and Enter lets the reply go on with that."),
    ("e", "Your own words in the place of this token; the reply goes on behind them, on a new branch."),
    ("Tab", "To the candidates, to the sliders, back to the text."),
    ("^O", "To the sliders: the bars follow them at once. They count for the next reply, too."),
    ("x", "The bars as the token was drawn, or as the sliders would have it now."),
    ("s", "Shade the text by probability, surprise, or entropy."),
    ("w", "Walk through the model to this token, step by step."),
    ("a", "Where did it look? The words with the most attention, in the chat."),
    ("Esc", "Back to the text, and to the chat."),
    ("▸ ✂ ≈", "The token that was taken; what a setting has cut; about (not all that counts is known)."),
)


_OF_A_CHAT = ("e", "w", "a")


class TokenHelp(Card[None]):
    """A card that scrolls.

    Args:
        is_chat: whether the keys count, too, that change a chat or ask its model.
    """

    DEFAULT_CSS = """
    TokenHelp > .card { width: 84; height: 100%; max-height: 28; }
    TokenHelp VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    TokenHelp .row { height: auto; layout: horizontal; }
    TokenHelp .row > .key { width: 11; text-style: bold; }
    TokenHelp .row > .what { width: 1fr; height: auto; color: $foreground 70%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,question_mark,q,enter", "leave", "Back", show=False)]

    def __init__(self, *, is_chat: bool = True) -> None:
        super().__init__()
        self._keys = [key for key in TOKEN_KEYS if is_chat or key[0] not in _OF_A_CHAT]

    def compose(self) -> ComposeResult:
        """Title, keys, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Keys of the tokens"), classes="title")
            with VerticalScroll():
                for key, what in self._keys:
                    with Vertical(classes="row"):
                        yield Static(Content(key), classes="key")
                        yield Static(Content(what), classes="what")
            yield FittingLine("↑ ↓ scroll · Esc back", "Esc back", classes="hint")
