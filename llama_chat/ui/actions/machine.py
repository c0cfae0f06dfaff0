"""Actions about the machine: another device, a model that is altered, a stay in the shell, the welcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.errors import LlamaChatError
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat_view import ChatViewScreen

if TYPE_CHECKING:
    from llama_chat.ui.widgets.altered_bar import AlteredBar


class MachineActions(ChatViewScreen):
    """What the keys about the machine do."""

    _altered_bar: AlteredBar | None = None
    _altered_words = ""

    def action_device(self, words: str = "") -> None:
        """Run the model on another device, or choose one."""
        from llama_chat.ui.screens import devices

        devices.take_device(self, words) if words else devices.choose_device(self)

    def action_welcome(self) -> None:
        """The screens for newcomers."""
        openers.open_first_run(self, is_first=False)

    def action_suspend(self) -> None:
        """Go back to the shell."""
        self.app.action_suspend_process()

    def action_alter(self, words: str = "") -> None:
        """Switch heads or layers off, or scale them; without words, let the model be as it was.

        Raises:
            LlamaChatError: the words name nothing that this model has, or it cannot be altered.
        """
        try:
            told = self.chat.altering.say(words)
        except LlamaChatError as error:
            if words:
                raise
            self.hint(str(error), "warning")
            return
        self.hint(notices.ALTERED if self.chat.altering.current else told)  # the bar has the rest

    def status_changed(self) -> None:
        """Show title, model, figures, and what is altered."""
        super().status_changed()
        words = self.chat.altered
        if words != self._altered_words:
            self._altered_words = words
            self._show_altered(words)

    def _show_altered(self, words: str) -> None:
        if self._altered_bar is None:
            from llama_chat.ui.widgets.altered_bar import AlteredBar

            self._altered_bar = AlteredBar(self.keys.name_of("alter"))
            self.query_one("#prompt-row").mount(self._altered_bar, before=0)
        self._altered_bar.show(words, f"Altered: {self.chat.altering.current.signature}")
