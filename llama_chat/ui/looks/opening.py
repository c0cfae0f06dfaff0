"""How the looks are opened: from a key, a command, or the view of a message's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.looking import Looking, Way
from llama_chat.conversation import Message, Role
from llama_chat.errors import UsageError
from llama_chat.ui.looks.sheet import LooksSheet
from llama_chat.ui.walk.opening import path_to

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NO_REPLY = "Only what the model wrote was chosen by looking: choose a reply, with Alt+↑."
NO_LOOKS = "Nothing can be looked into here."
NOTHING_YET = "There is no reply yet to be looked at."
STILL_WRITTEN = "This reply is still being written; stop it (Esc) or wait, then see where it looked."


def open_looks(screen: ChatViewScreen, message: Message | None, index: int = 0) -> None:
    """Show below the chat where a token of the reply looked; what is over the chat is left.

    Args:
        screen: the chat's.
        message: the reply; None: there is none.
        index: of the token, from 0.

    Raises:
        UsageError: it cannot be asked about that message; nothing is left then.
    """
    open_attention, why_not = screen.setup.open_attention, _why_not(message)
    if message is None or why_not or open_attention is None:
        raise UsageError(why_not or NO_LOOKS)
    while screen.app.screen is not screen and screen in screen.app.screen_stack:
        screen.app.pop_screen()
    way = Way()
    for sheet in screen.query(LooksSheet):
        way = sheet.way
        sheet.remove()
    path = path_to(screen.chat.conversation, message)
    looking = Looking(screen.bridge.worker.compute, open_attention, path, screen.chat.saved.date)
    sheet = LooksSheet(screen, looking, message.id, index, way)
    screen.query_one("#center").mount(sheet, before="#prompt-row")


def _why_not(message: Message | None) -> str:
    """Why it cannot be asked about the message; empty where it can."""
    if message is None:
        return NOTHING_YET
    if message.role is not Role.ASSISTANT:
        return NO_REPLY
    is_open = message.reply is not None and message.reply.finish_reason is None
    return STILL_WRITTEN if is_open else ""
