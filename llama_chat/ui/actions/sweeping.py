"""One prompt under a row of settings."""

from __future__ import annotations

from llama_chat.errors import UsageError
from llama_chat.ui.screens.chat_view import ChatViewScreen


class SweepActions(ChatViewScreen):
    """What the key about sweeps does."""

    def action_sweep(self, words: str = "") -> None:
        """The sweep over the words; without any, over the chosen message, else the last one.

        Raises:
            UsageError: there is nothing to answer.
        """
        from llama_chat.ui.sweep.opening import open_sweep

        try:
            open_sweep(self, words)
        except UsageError as error:
            if words:
                raise
            self.hint(str(error))
