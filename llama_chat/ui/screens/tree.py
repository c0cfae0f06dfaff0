"""The whole conversation as a tree: every message of every branch, and what the one under the cursor says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.chat.branches.tree import branch_count, rows_with, tree_rows
from llama_chat.chat.words import end_text, figures_of, name_of
from llama_chat.conversation import Conversation, Message
from llama_chat.markup.thoughts import runs_of
from llama_chat.sanitize import sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.tree_lines import TreeLines

MOST_PREVIEWED = 6_000
"""Characters of a message; the transcript has the rest."""
_HINTS = (
    "Enter shows the branch · ← → siblings · / finds words · d ends the path before it · Esc back",
    "Enter shows it · ← → siblings · / find · d delete · Esc back",
    "Enter shows it · d delete · Esc",
    "Enter · d · Esc",
)
_FINDING_HINTS = ("↑ ↓ · Enter shows the branch · Esc: all messages", "↑ ↓ · Enter · Esc: all")


@dataclass(frozen=True, slots=True)
class TreeWish:
    """What the user wants with a message of the tree."""

    what: Literal["show", "delete"]
    message_id: str


class TreeScreen(Card[TreeWish]):
    """A card over the whole transcript; the result is what shall be done.

    Args:
        conversation: whose messages are shown.
        marked: id of the message that the cursor starts on.
    """

    DEFAULT_CSS = """
    TreeScreen {
        & > .card { width: 100%; max-width: 100%; height: 100%; }
        & .tree-body { layout: vertical; height: 1fr; }
        & TreeLines { height: 1fr; }
        & .preview { height: 5; margin-top: 1; padding: 0 1; border-left: outer $foreground 20%; }
        & .preview { scrollbar-size-vertical: 1; }
        & .preview > Static { width: 1fr; height: auto; }
        & .preview-head { color: $foreground 60%; }
        & Input {
            display: none;
            border: none;
            height: 1;
            margin: 0 1 1 1;
            padding: 0;
            background: transparent;
            &:focus { border: none; background-tint: $foreground 0%; }
        }
        &.-finding Input { display: block; }
        &.-wide .tree-body { layout: horizontal; }
        &.-wide TreeLines { width: 3fr; }
        &.-wide .preview { width: 2fr; height: 100%; margin: 0 0 0 1; }
        &.-low .preview { display: none; }
        &.-narrow .title { margin-bottom: 0; }
        &.-narrow .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "show", "Show the branch", show=False),
        Binding("d,delete", "delete", "Delete from here", show=False),
        Binding("slash,ctrl+l", "find", "Find", show=False),
        Binding("q,alt+t", "leave", "Back", show=False),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, conversation: Conversation, marked: str | None) -> None:
        super().__init__()
        self._marked = marked
        self._rows = tree_rows(conversation)
        self._branches = branch_count(conversation)
        self._lines = TreeLines()
        self._head = FittingLine("", classes="preview-head")
        self._text = Static()
        self._hint = FittingLine(*_HINTS, classes="hint")

    def compose(self) -> ComposeResult:
        """Title, input, lines with the preview beside or below, hint."""
        with Vertical(classes="card"):
            yield Static(Content(self._title()), classes="title")
            yield Input(placeholder="words…", compact=True)
            with Container(classes="tree-body"):
                yield self._lines
                with VerticalScroll(classes="preview", can_focus=False):
                    yield self._head
                    yield self._text
            yield self._hint

    def on_mount(self) -> None:
        """Show all messages."""
        super().on_mount()
        self._lines.show_rows(self._rows, self._marked)
        self._lines.focus()

    def _title(self) -> str:
        messages, branches = len(self._rows), self._branches
        of_messages = f"{messages:,} message{'s' * (messages != 1)}"
        return f"Tree · {of_messages} · {branches:,} branch{'es' * (branches != 1)}"

    # --- what the user does -------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Move the cursor, also while words are typed."""
        self._lines.action_move(step)

    def action_show(self) -> None:
        """Show the branch of the message."""
        self._dismiss_with("show")

    def action_delete(self) -> None:
        """End the path before the message."""
        self._dismiss_with("delete")

    def _dismiss_with(self, what: Literal["show", "delete"]) -> None:
        if self._lines.cursor_id is not None:
            self.dismiss(TreeWish(what, self._lines.cursor_id))

    def action_find(self) -> None:
        """Type words that the messages hold."""
        self.add_class("-finding")
        self._hint.say(*_FINDING_HINTS)
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Show all messages again; else go back to the chat."""
        if not self.has_class("-finding"):
            self.dismiss(None)
            return
        marked = self._lines.cursor_id
        self.query_one(Input).value = ""
        self.remove_class("-finding")
        self._hint.say(*_HINTS)
        self._lines.show_rows(self._rows, marked)
        self._lines.focus()

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        rows = rows_with(self._rows, event.value)
        is_all = not event.value.strip()
        self._lines.show_rows(rows, self._lines.cursor_id or self._marked, has_rails=is_all)
        if not rows:
            self._head.say("No message has that.")
            self._text.update(Content(""))

    @on(Input.Submitted)
    def _take(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_show()

    @on(TreeLines.Chosen)
    def _take_clicked(self) -> None:
        self.action_show()

    # --- the preview --------------------------------------------------------------------------------

    @on(TreeLines.Highlighted)
    def _preview(self, event: TreeLines.Highlighted) -> None:
        row = self._lines.cursor_row
        if row is None or event.message_id != row.message_id:
            return  # the cursor is further already
        message = row.message
        place = [f"{row.place} of {row.siblings}"] if row.siblings > 1 else []
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.created_at))
        name, figures = name_of(message), figures_of(message.reply)
        wordings = ([name, when, figures, *place], [name, when, *place], [name, *place], [name])
        self._head.say(*(" · ".join(filter(None, parts)) for parts in wordings))
        self._text.update(_text_of(message))
        self.query_one(".preview", VerticalScroll).scroll_home(animate=False)


def _plain(text: str) -> str:
    return sanitize(text).expandtabs(4).strip("\n")


def _text_of(message: Message) -> Content:
    runs = [(is_thought, _plain(said)) for is_thought, said in runs_of(message.text[:MOST_PREVIEWED])]
    said = Content("\n\n").join(
        Content.styled(run, "italic $foreground 50%" if is_thought else "") for is_thought, run in runs if run
    )
    rest = len(message.text) - MOST_PREVIEWED
    more = f"\n… {rest:,} characters more" if rest > 0 else ""
    return Content.assemble(
        said or "(empty)",
        (more, "$foreground 60%"),
        (f"\n{end_text(message.reply)}".rstrip(), "italic $foreground 60%"),
    )
