"""A list with a line to type into: what does not contain the typed words disappears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from llama_chat.sanitize import sanitize
from llama_chat.ui.widgets.fitting import cut
from llama_chat.ui.widgets.options import Options
from llama_chat.ui.widgets.two_ends import TwoEnds

SHOWN = 200
"""Lines at most; all are searched. 10,000 lines took 0.9 s to fill in (2 busy cores, 2026-11-22)."""

TYPED_CELLS = 24
"""So much of what was typed is said again where nothing has it."""

DETAIL_LETTERS = 4
"""A shorter word is not looked for in the details of an item."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line that can be chosen."""

    id: str
    content: Content
    """How it looks; already safe."""
    search: str
    """What the typed words are looked for in."""
    group: str = ""
    """The heading above it."""
    name: str = ""
    """What it is called, where that tells which of the found ones come first."""
    aside: Content | None = None
    """Shown at the right end, where there is room; already safe."""
    details: str = ""
    """Looked through for longer words only: `the` stands in half of all sentences."""
    other_names: tuple[str, ...] = ()
    """What it is called besides; the typed words may begin these, too."""
    weight: int = 0
    """How often it is wanted: of those that are found alike, the heavier one comes first."""


def is_found(item: Item, words: Sequence[str]) -> bool:
    """Whether each of the words, in lower case, is in what is searched, or is long and in the details."""
    search, details = item.search.casefold(), item.details.casefold()
    return all(word in search or (len(word) >= DETAIL_LETTERS and word in details) for word in words)


def rank_of(item: Item, words: Sequence[str]) -> int:
    """0 where the name begins with the words, 1 where another one does, 2 where it has them, 3 elsewhere."""
    name, typed = item.name.casefold(), " ".join(words)
    if words and name.startswith(typed):
        return 0
    if words and any(other.casefold().startswith(typed) for other in item.other_names):
        return 1
    return 2 if name and all(word in name for word in words) else 3


class FilterList(Vertical):
    """Items under an input; arrows move while the input keeps the focus, Enter chooses.

    Args:
        placeholder: shown in the empty input.
        empty: shown when there is nothing to choose.
        none_found: shown when nothing has what was typed, which stands for `{}`.
    """

    DEFAULT_CSS = """
    FilterList {
        height: 1fr;
        & > Input {
            border: none;
            height: 1;
            margin: 0 1 1 1;
            padding: 0;
            background: transparent;
            &:focus { border: none; background-tint: $foreground 0%; }
        }
        & > OptionList {
            height: 1fr;
            border: none;
            padding: 0;
            background: transparent;
            scrollbar-size-vertical: 1;
            &:focus { border: none; background-tint: $foreground 0%; }
            text-wrap: nowrap;
            text-overflow: ellipsis;
            & > .option-list--option-disabled { color: $foreground 50%; }
            & > .option-list--option-highlighted {
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
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move('cursor_down')", show=False, priority=True),
        Binding("up", "move('cursor_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
    ]

    class Highlighted(Message):
        """The marked line is another."""

        def __init__(self, item_id: str) -> None:
            super().__init__()
            self.item_id = item_id

    class Chosen(Message):
        """The user wants this one."""

        def __init__(self, item_id: str) -> None:
            super().__init__()
            self.item_id = item_id

    def __init__(
        self,
        placeholder: str = "search…",
        *,
        empty: str = "Nothing here.",
        none_found: str = "Nothing here has “{}”.",
    ) -> None:
        super().__init__()
        self._none_found = none_found
        self._placeholder = placeholder
        self._empty = empty
        self._items: Sequence[Item] = ()

    def compose(self) -> ComposeResult:
        """An input above a list."""
        yield Input(placeholder=self._placeholder, compact=True)
        options = Options(compact=True)
        options.can_focus = False
        yield options

    def show_items(self, items: Sequence[Item], *, marked: str | None = None) -> None:
        """Show these, all in their order until words are typed; the cursor goes to the marked one."""
        self._items = items
        self._fill(marked)

    def type(self, text: str) -> None:
        """Put the text into the input, as if it had been typed."""
        line = self.query_one(Input)
        line.value, line.cursor_position = text, len(text)

    def _fill(self, marked: str | None = None) -> None:
        words = self.query_one(Input).value.casefold().split()
        found = self._find(words) if words else self._items
        shown = found[:SHOWN]
        options: list[Option] = []
        group = ""
        for item in shown:
            if item.group != group:
                group = item.group
                options.append(Option(Content(f" {group}"), disabled=True))
            content = Content(" ") + item.content
            prompt = TwoEnds(content, item.aside + Content(" ")) if item.aside else content
            options.append(Option(prompt, id=item.id))
        if not options:
            options.append(Option(Content(f" {self._why_empty()}"), disabled=True))
        if len(found) > SHOWN:
            more = f" … {len(found) - SHOWN:,} more: type to find them"
            options.append(Option(Content(more), disabled=True))
        option_list = self.query_one(OptionList)
        option_list.set_options(options)
        chosen = marked if any(item.id == marked for item in shown) else shown[0].id if shown else None
        option_list.highlighted = option_list.get_option_index(chosen) if chosen is not None else None

    def _why_empty(self) -> str:
        typed = " ".join(self.query_one(Input).value.split())
        return self._none_found.replace("{}", sanitize(cut(typed, TYPED_CELLS))) if typed else self._empty

    def _find(self, words: Sequence[str]) -> Sequence[Item]:
        found = [item for item in self._items if is_found(item, words)]
        return sorted(found, key=lambda item: (rank_of(item, words), -item.weight))

    @property
    def shown_ids(self) -> list[str]:
        """What can be chosen now, from top to bottom."""
        options = self.query_one(OptionList).options
        return [option.id for option in options if option.id is not None]

    @property
    def highlighted_id(self) -> str | None:
        """What the cursor is on."""
        option = self.query_one(OptionList).highlighted_option
        return option.id if option is not None else None

    def action_move(self, how: str) -> None:
        """Move the mark while the input keeps the focus."""
        getattr(self.query_one(OptionList), f"action_{how}")()

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(Input.Submitted)
    def _take_marked(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(OptionList).action_select()

    @on(OptionList.OptionHighlighted)
    def _tell_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option.id is not None:
            self.post_message(self.Highlighted(event.option.id))

    @on(OptionList.OptionSelected)
    def _tell_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.post_message(self.Chosen(event.option.id))
