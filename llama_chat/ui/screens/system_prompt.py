"""A card to write a system prompt in: that of the chat, or the text of a persona."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TextArea

from llama_chat.chat.picks.persona_shelf import PersonaShelf
from llama_chat.errors import LlamaChatError
from llama_chat.personas import BUILT_IN, LoadedPersonas
from llama_chat.sanitize import sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.screens.name import NameScreen
from llama_chat.ui.widgets.fitting import FittingLine, shorter_and_shorter
from llama_chat.ui.widgets.prompt import without_controls

OF_CHAT = "System prompt of this chat"
_HINTS = (
    "Ctrl+S keeps the text (empty means none) · Esc drops the changes",
    "Ctrl+S keeps it · Esc drops changes",
    "Ctrl+S keep · Esc drop",
)
_SHELF_HINTS = (
    "Ctrl+S keeps it (empty: none) · Alt+R saves it as a persona · Esc drops it",
    "Ctrl+S keep · Alt+R as a persona · Esc drop",
    "^S keep · Alt+R persona · Esc drop",
    _HINTS[-1],
)


_PERSONA_HINTS = ("Ctrl+S saves the persona · Esc drops the changes", "Ctrl+S save · Esc drop")


class SystemPromptScreen(Card[str]):
    """Edit the text; the result is the new one, None when it was left as it is.

    Args:
        text: what stands there at first.
        title: whose it is.
        shelf: names the persona that the text is, and takes it as another one.
        hints: the line of keys, the longest wording first, where there is no shelf.
    """

    DEFAULT_CSS = """
    SystemPromptScreen > .card { height: 20; }
    SystemPromptScreen TextArea {
        height: 1fr;
        background: $background;
        border: round $foreground 20%;
        &:focus { border: round $primary 70%; }
        & .text-area--cursor-line { background: transparent; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Keep the text", show=False, priority=True),
        Binding("alt+r", "save_as", "Save it as a persona", show=False, priority=True),
        Binding("ctrl+g", "editor", "Write it in your editor", show=False, priority=True),
    ]

    def __init__(
        self,
        text: str,
        *,
        title: str = OF_CHAT,
        shelf: PersonaShelf | None = None,
        hints: Sequence[str] = _HINTS,
    ) -> None:
        super().__init__()
        self._hints = _SHELF_HINTS if shelf else hints
        self._text = text
        self._title = title
        self._shelf = shelf
        self._known = LoadedPersonas(BUILT_IN)

    def compose(self) -> ComposeResult:
        """Title, text, hint."""
        with Vertical(classes="card"):
            yield Static(Content(self._title), classes="title")
            yield TextArea(
                without_controls(self._text),
                highlight_cursor_line=False,
                placeholder=Content("You are a helpful assistant."),
            )
            yield FittingLine(*self._hints, classes="hint")

    def on_mount(self) -> None:
        """Begin at the end of the text."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()
        self._learn_personas()

    @work
    async def _learn_personas(self) -> None:
        if self._shelf is not None:
            self._name_persona()
            self._known = await self._shelf.load()
            self._name_persona()

    @property
    def _typed(self) -> str:
        return self.query_one(TextArea).text.strip()

    @on(TextArea.Changed)
    def _name_persona(self) -> None:
        """Say in the title which persona the text is."""
        if self._shelf is not None:
            persona = self._known.of_text(self._typed)
            name = f" · {persona.title}" if persona else ""
            self.query_one(".title", Static).update(Content(self._title + name))

    def action_editor(self) -> None:
        """Write the text in the user's own editor; it is not kept by that."""
        from llama_chat.ui.external import edit_outside

        area = self.query_one(TextArea)
        try:
            area.text = edit_outside(self.app, area.text)
        except LlamaChatError as error:
            self._say(str(error))
        area.move_cursor(area.document.end)

    def action_save(self) -> None:
        """Keep the text."""
        self.dismiss(self._typed)

    @work
    async def action_save_as(self) -> None:
        """Keep the text as a persona; the card stays."""
        if (shelf := self._shelf) is None:
            return
        if not (text := self._typed):
            self._say("There is no text to save.")
            return
        before = self._known.of_text(self._text)
        name = await self.app.push_screen_wait(
            NameScreen("Name of the persona", before.title if before else "", question=self._question)
        )
        if name is None:
            return
        try:
            persona = await shelf.save_as(name, text)
        except LlamaChatError as error:
            self._say(str(error))
            return
        self._known = await shelf.load()
        self._name_persona()
        self._say(f"Saved as {persona.title}. Ctrl+S keeps it for this chat, too.")

    def _question(self, name: str) -> str:
        is_there = self._known.has_own(name)
        return f"There is one called {name}. Enter again gives it this text." if is_there else ""

    def _say(self, words: str) -> None:
        self.query_one(".hint", FittingLine).say(*shorter_and_shorter(sanitize(words)))


class PersonaText(SystemPromptScreen):
    """Edit the text of a persona; the card stays until it is saved, so that no disk can lose what is written.

    Args:
        text: what stands there at first.
        name: of the persona.
        save: keeps the text; None where the result is all that is wanted.
    """

    def __init__(self, text: str, name: str, save: Callable[[str], Awaitable[object]] | None = None) -> None:
        super().__init__(text, title=f"Persona · {name}", hints=_PERSONA_HINTS)
        self._save = save

    def action_save(self) -> None:
        """Keep the text, if there is another one."""
        self._keep()

    @work(exclusive=True)
    async def _keep(self) -> None:
        text = self._typed
        if self._save is not None and text and text != self._text:
            try:
                await self._save(text)
            except LlamaChatError as error:
                self._say(str(error))
                return
        self.dismiss(text)
