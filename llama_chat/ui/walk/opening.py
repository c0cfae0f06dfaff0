"""How a walk is opened: from a key, a command, a message, a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llama_chat.chat.walking.source import WalkSource, source_of
from llama_chat.conversation import Conversation, Message

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NOTHING_TO_WALK = "There is nothing to walk through yet: say something, or /walk The capital of France is"
NO_WALK = "Nothing can be looked into here."
_LOOK_EVERY_S = 0.1


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


async def source_when_written(
    screen: ChatViewScreen, source: WalkSource, say_waiting: Callable[[], None]
) -> WalkSource:
    """The source with its message as it is once it is written: only then its tokens are known.

    A reply that was refused is gone: what is left is what it would have answered.
    """
    if not source.path:
        return source
    message_id = source.path[-1].id
    while screen.chat.running_id == message_id:
        say_waiting()
        await asyncio.sleep(_LOOK_EVERY_S)
    message = screen.chat.message_now(message_id)
    if message is None:
        return replace(source, path=source.path[:-1] or source.path)
    return replace(source, path=path_to(screen.chat.conversation, message))


def path_to(conversation: Conversation, message: Message) -> tuple[Message, ...]:
    """From the root to the message, which is taken as it is given: it may be written just now."""
    path, at = [message], message.parent_id
    while at is not None and (parent := conversation.messages.get(at)) is not None:
        path.append(parent)
        at = parent.parent_id
    return tuple(reversed(path))
