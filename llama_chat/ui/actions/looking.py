"""Where a token of a reply looked: its list and its shades come and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from llama_chat.conversation import Message, Role
from llama_chat.errors import UsageError
from llama_chat.ui.screens.chat_view import ChatViewScreen

if TYPE_CHECKING:
    from llama_chat.ui.looks.sheet import LooksSheet

SHEET = "LooksSheet"


class LookActions(ChatViewScreen):
    """What the keys about attention do; the list itself is imported when it is first wanted."""

    def action_looks(self, words: str = "") -> None:
        """Show where a token of the chosen reply looked, else of the last one; with it open, take it away.

        Raises:
            UsageError: the words are no number of a token.
        """
        if (sheets := self._sheets()) and not words:
            if sheets[0].has_focus:
                self.leave_looks()
            else:
                sheets[0].focus()
            return
        from llama_chat.chat.looking import parse_token_number
        from llama_chat.ui.looks.opening import open_looks

        index = parse_token_number(words)
        try:
            open_looks(self, self._looked_at(), index)
        except UsageError as error:
            self.hint(str(error), "warning")

    def _looked_at(self) -> Message | None:
        """The chosen message; without a cursor the last reply."""
        if self.transcript.cursor_id is not None:
            return self.chosen_message()
        replies = (each for each in reversed(self.chat.conversation.path()) if each.role is Role.ASSISTANT)
        last = next(replies, None)
        return self.chat.message_now(last.id) if last is not None else None

    def leave_looks(self) -> bool:
        """Take the list and the shades away; whether there were any."""
        sheets = self._sheets()
        for sheet in sheets:
            sheet.leave()
        return bool(sheets)

    def _sheets(self) -> list[LooksSheet]:
        return cast("list[LooksSheet]", list(self.query(SHEET)))

    def show_path(self, messages: Sequence[Message], *, keep_notices: bool = False) -> None:
        """Show these messages; a list about one that is not among them goes."""
        super().show_path(messages, keep_notices=keep_notices)
        shown = {message.id for message in messages}
        if any(sheet.message_id not in shown for sheet in self._sheets()):
            self.leave_looks()
