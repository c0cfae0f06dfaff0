"""The system prompt and the personas: what their keys and commands do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.errors import LlamaChatError
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat_view import ChatViewScreen

if TYPE_CHECKING:
    from llama_chat.chat.picks.persona_shelf import PersonaShelf


class PersonaActions(ChatViewScreen):
    """What the chat screen does with the system prompt."""

    def action_system_prompt(self, words: str = "") -> None:
        """Edit the system prompt of this chat; with words, take these."""
        if words:
            self.chat.set_system(words)
        else:
            openers.edit_system_prompt(self)

    def action_personas(self, words: str = "") -> None:
        """Choose a persona; with words, take the one that they name."""
        from llama_chat.chat.picks.persona_shelf import PersonaShelf

        shelf = PersonaShelf(self.setup.paths.prompts, self.bridge.ask_disk)
        if words:
            self.run_worker(self._take_persona(shelf, words))
            return
        from llama_chat.ui.screens.personas import PersonaScreen

        def take(text: str | None) -> None:
            if text is not None:
                self.chat.set_system(text)

        self.app.push_screen(PersonaScreen(self, shelf), take)

    async def _take_persona(self, shelf: PersonaShelf, words: str) -> None:
        chat = self.chat.conversation
        try:
            persona = (await shelf.load()).find(words)
        except LlamaChatError as error:
            self.prompt.refuse(f"/persona {words}")
            self.hint(str(error), "warning")
            return
        if chat is self.chat.conversation:  # else another one was opened meanwhile
            self.chat.set_system(persona.text)
