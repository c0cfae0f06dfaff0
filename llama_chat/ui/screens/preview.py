"""A card with a few things to choose from and a look at the marked one beside or below them."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llama_chat.sanitize import one_line, sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine, shorter_and_shorter
from llama_chat.ui.widgets.options import Options
from llama_chat.ui.widgets.two_ends import TwoEnds


class Row:
    """One line that can be chosen.

    Args:
        row_id: tells it from the others.
        name: foreign words.
        aside: where it comes from.
        is_current: whether it is what counts now.
    """

    def __init__(self, row_id: str, name: str, aside: str = "", *, is_current: bool = False) -> None:
        self.id = row_id
        mark = ("• ", "$accent") if is_current else "  "
        style = "bold" if is_current else ""
        self._left = Content.assemble(mark, (one_line(name), style))
        self._right = Content.styled(f"{aside} ", "$foreground 50%") if aside else Content("")

    def option(self) -> Option:
        """As the list shows it."""
        return Option(TwoEnds(self._left, self._right) if self._right else self._left, id=self.id)


class PreviewCard(Card[str]):
    """Arrows mark, letters act, Enter takes.

    Args:
        title: what is chosen.
        hints: the line of keys, the longest wording first.
    """

    DEFAULT_CSS = """
    PreviewCard {
        & > .card { width: 92; height: 100%; max-height: 21; }
        & .body { height: 1fr; }
        & OptionList {
            height: auto;
            max-height: 45%;
            border: none;
            padding: 0;
            background: transparent;
            scrollbar-size-vertical: 1;
            text-wrap: nowrap;
            text-overflow: ellipsis;
            &:focus { border: none; background-tint: $foreground 0%; }
            & > .option-list--option-highlighted, &:focus > .option-list--option-highlighted {
                background: $primary 25%;
                color: $foreground;
                text-style: none;
            }
            &:nocolor > .option-list--option-highlighted { text-style: reverse; }
            &:ansi > .option-list--option-highlighted {
                background: $block-cursor-background;
                color: $block-cursor-foreground;
                text-style: $block-cursor-text-style;
            }
        }
        & VerticalScroll { height: 1fr; padding: 0 1; margin-top: 1; scrollbar-size-vertical: 1; }
        &.-low VerticalScroll { margin-top: 0; }
        &.-wide {
            & .body { layout: horizontal; }
            & OptionList { width: 30; height: 1fr; max-height: 100%; }
            & VerticalScroll { width: 1fr; margin: 0; padding: 0 0 0 3; }
        }
    }
    """

    def __init__(self, title: str, hints: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._hints = hints
        self._asked_of: str | None = None
        self._said_of: str | None = None

    def compose(self) -> ComposeResult:
        """Title, list, what the marked one is, hint."""
        with Vertical(classes="card"):
            yield Static(Content(self._title), classes="title")
            with Container(classes="body"):
                yield Options(compact=True)
                with VerticalScroll(can_focus=False):
                    yield Static("", classes="preview")
            yield FittingLine(*self._hints, classes="hint")

    # --- for those who make one -------------------------------------------------------------------------

    def look_at(self, row_id: str) -> Content:
        """What is shown of the marked one."""
        raise NotImplementedError

    def show_rows(self, rows: Sequence[Row], marked: str) -> None:
        """Show these; the cursor goes to the marked one."""
        options = self.query_one(OptionList)
        options.set_options([row.option() for row in rows])
        ids = [row.id for row in rows]
        options.highlighted = ids.index(marked) if marked in ids else 0
        options.focus()

    @property
    def marked(self) -> str:
        """What the cursor is on."""
        option = self.query_one(OptionList).highlighted_option
        return "" if option is None or option.id is None else option.id

    def say(self, text: str) -> None:
        """Say something in the place of the keys, as many sentences as fit, until the mark moves."""
        self._said_of = self.marked
        self.query_one(".hint", FittingLine).say(*shorter_and_shorter(sanitize(text)))

    def is_sure(self, row_id: str, question: str) -> bool:
        """Whether the same was asked for just before; else the question is put."""
        if self._asked_of == row_id:
            self._asked_of = None
            return True
        self._asked_of = row_id
        self.say(question)
        return False

    # --- the list ---------------------------------------------------------------------------------------

    @on(OptionList.OptionHighlighted)
    def _look(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option.id is None or event.option.id != self.marked:
            return
        self.query_one(".preview", Static).update(self.look_at(event.option.id))
        self.query_one(VerticalScroll).scroll_home(animate=False)
        if self._said_of != event.option.id:
            self._asked_of = self._said_of = None
            self.query_one(".hint", FittingLine).say(*self._hints)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.take(event.option.id)

    def take(self, row_id: str) -> None:
        """The user wants this one."""
        self.dismiss(row_id)
