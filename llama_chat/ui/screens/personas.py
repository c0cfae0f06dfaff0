"""The personas as a card: chosen, written, edited and deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content

from llama_chat.chat.picks.persona_shelf import PersonaShelf
from llama_chat.errors import LlamaChatError
from llama_chat.personas import BUILT_IN, LoadedPersonas, Persona
from llama_chat.sanitize import sanitize
from llama_chat.ui.screens.name import NameScreen
from llama_chat.ui.screens.preview import PreviewCard, Row
from llama_chat.ui.screens.system_prompt import PersonaText

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

_HINTS = (
    "Enter takes it for this chat · n new · e edits · d deletes · Esc back",
    "Enter takes it · n new · e edit · d delete · Esc",
    "Enter · n new · e edit · d delete · Esc",
    "Enter takes it · n · e · d · Esc",
    "Enter · Esc",
)
_NONE, _OWN = "\0none", "\0own"
"""Rows that are no personas; no file is called so."""


class PersonaScreen(PreviewCard):
    """Choose a persona; the result is the text that becomes the system prompt of the chat.

    Args:
        chat: the chat's screen.
        shelf: where the personas are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "write", "Write a new one", show=False),
        Binding("e", "edit", "Edit its text", show=False),
        Binding("d,delete", "delete", "Delete it", show=False),
    ]

    def __init__(self, chat: ChatViewScreen, shelf: PersonaShelf) -> None:
        super().__init__("Personas", _HINTS)
        self._system = chat.chat.conversation.system.strip()
        self._shelf = shelf
        self._loaded = LoadedPersonas(BUILT_IN)
        for key in chat.keys.keys_of("personas"):
            self._bindings.bind(key, "leave", "Back", show=False)

    def on_mount(self) -> None:
        """List what there is, beginning at the one that counts now."""
        self._show()
        self._begin_to_list()

    @work
    async def _begin_to_list(self) -> None:
        await self._list()
        if self._loaded.notices:
            first, *others = self._loaded.notices
            self.say(f"{first} {len(others):,} more such files." if others else first)

    async def _list(self, marked: str | None = None) -> None:
        self._loaded = await self._shelf.load()
        if self.is_attached:
            self._show(marked)

    def _show(self, marked: str | None = None) -> None:
        current = self._loaded.of_text(self._system)
        rows = [Row(_NONE, "none", is_current=not self._system)]
        if self._system and current is None:
            rows.append(Row(_OWN, "as it is now", is_current=True))
        for persona in self._loaded.personas:
            whose = "yours" if persona.is_own else ""
            rows.append(Row(persona.name, persona.title, whose, is_current=persona == current))
        now = current.name if current else _OWN if self._system else _NONE
        self.show_rows(rows, marked or now)

    def _text(self, row_id: str) -> str:
        persona = self._persona(row_id)
        return persona.text if persona else self._system if row_id == _OWN else ""

    def _persona(self, row_id: str) -> Persona | None:
        return next((each for each in self._loaded.personas if each.name == row_id), None)

    def look_at(self, row_id: str) -> Content:
        """Its text."""
        text = sanitize(self._text(row_id))
        return Content(text) if text else Content.styled("No system prompt.", "$foreground 60%")

    def take(self, row_id: str) -> None:
        """Give back its text."""
        self.dismiss(self._text(row_id))

    # --- what changes files -------------------------------------------------------------------------------

    @work
    async def action_write(self) -> None:
        """Write a new one."""
        name = await self.app.push_screen_wait(
            NameScreen("Name of the persona", placeholder="Pirate", question=self._question)
        )
        if not name:
            return
        persona = await self._written("", name, lambda text: self._shelf.save_as(name, text))
        if persona is not None:
            await self._list(persona.name)
            self.say(f"{persona.title} is saved. Enter takes it for this chat.")

    async def _written(
        self, text: str, title: str, save: Callable[[str], Awaitable[Persona]]
    ) -> Persona | None:
        """The persona as it was saved; None where the text was left as it is."""
        saved: list[Persona] = []

        async def keep(new: str) -> None:
            saved.append(await save(new))

        await self.app.push_screen_wait(PersonaText(text, title, keep))
        return saved[-1] if saved else None

    def _question(self, name: str) -> str:
        is_there = self._loaded.has_own(name)
        return f"There is one called {name}. Enter again gives it another text." if is_there else ""

    @work
    async def action_edit(self) -> None:
        """Edit the text in its place; of one of ours the user gets a copy."""
        persona = self._persona(self.marked)
        if persona is None:
            self.say("n writes a persona. F8 edits the system prompt of this chat.")
            return
        saved = await self._written(persona.text, persona.title, lambda text: self._shelf.save(persona, text))
        if saved is None:
            return
        await self._list(saved.name)
        copy = "" if persona.is_own else " as a copy of your own"
        self.say(f"{saved.title} is saved{copy}. Enter takes it for this chat.")

    @work
    async def action_delete(self) -> None:
        """Delete its file, if it has one and the user says so twice."""
        persona = self._persona(self.marked)
        if persona is None or not persona.is_own:
            self.say(
                "That one comes with the program; it stays." if persona else "There is no file to delete."
            )
            return
        if not self.is_sure(persona.name, f"d again deletes {persona.title}. Its file goes with it."):
            return
        try:
            await self._shelf.delete(persona)
        except LlamaChatError as error:
            self.say(str(error))
            return
        await self._list()
        self.say(f"{persona.title} is deleted.")
