"""Actions about the machine: another device, a stay in the shell, the screens for newcomers once more."""

from __future__ import annotations

from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat_view import ChatViewScreen


class MachineActions(ChatViewScreen):
    """What the keys about the machine do."""

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
