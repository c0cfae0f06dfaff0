"""How a walk is opened: from a key, a command, a message, a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_chat.chat.walking.source import WalkSource, source_of
from llama_chat.conversation import Conversation, Message

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NOTHING_TO_WALK = "There is nothing to walk through yet: say something, or /walk The capital of France is"
NO_WALK = "Nothing can be looked into here."


def open_walk(screen: ChatViewScreen, what: Message | str | Sequence[int], at: int | None = None) -> None:
    """The screen of a walk.

    Args:
        screen: the chat's.
        what: a message, through the template and behind the path that it stands on; a raw text; or ids.
        at: of a message's reply: the index of the token that the walk ends with choosing. None: what comes
            behind all of it. Of a text or of ids: how many of their tokens are taken.
    """
    from llama_chat.ui.walk.screen import WalkScreen

    if screen.setup.open_walk is None:
        screen.hint(NO_WALK, "warning")
        return
    if isinstance(what, Message):
        source = WalkSource(path=path_to(screen.chat.conversation, what), date=screen.chat.saved.date, at=at)
    else:
        source = source_of(what, at)
    screen.app.push_screen(WalkScreen(screen, source, screen.setup.open_walk))


def path_to(conversation: Conversation, message: Message) -> tuple[Message, ...]:
    """From the root to the message, which is taken as it is given: it may be written just now."""
    path, at = [message], message.parent_id
    while at is not None and (parent := conversation.messages.get(at)) is not None:
        path.append(parent)
        at = parent.parent_id
    return tuple(reversed(path))
