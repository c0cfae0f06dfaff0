"""The tokens of a message, looked at one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.conversation import Role
from llama_chat.ui.screens.chat_view import ChatViewScreen

if TYPE_CHECKING:
    from llama_chat.chat.tokens.scoring import MessageScores

NOTHING_TO_LOOK_AT = "There is no message to look into yet."


class TokenActions(ChatViewScreen):
    """What the key of the tokens does."""

    _scores: MessageScores | None = None

    def action_tokens(self) -> None:
        """Show the tokens of the chosen message; without a cursor, those of the last reply."""
        from llama_chat.chat.tokens.scoring import MessageScores
        from llama_chat.ui.tokens.screen import TokenScreen

        message = self.chosen_message() if self.transcript.cursor_id is not None else None
        if message is None:
            path = reversed(self.chat.conversation.path())
            last = next((each for each in path if each.role is Role.ASSISTANT), None)
            message = (self.chat.message_now(last.id) or last) if last is not None else self.chosen_message()
        if message is None:
            self.hint(NOTHING_TO_LOOK_AT)
        else:
            self._scores = self._scores or MessageScores(self.bridge.worker)
            self.app.push_screen(TokenScreen(self, message, self._scores))
