"""Whether a reply can go on from its last token, and if not, why."""

from __future__ import annotations

from llama_chat.chat import notices
from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import Sampling


def why_it_cannot_go_on(message: Message | None, *, is_shared: bool) -> str:
    """A sentence for the user; empty when the reply can go on.

    Args:
        message: of the path.
        is_shared: another chat has the session open, and may go on with it.
    """
    if message is None or message.role is not Role.ASSISTANT:
        return notices.NOTHING_TO_GO_ON_WITH
    reply = message.reply
    if reply is None:  # the user wrote it, or it was imported
        return "" if message.text.strip() else notices.NOTHING_TO_GO_ON_WITH
    if message.text.strip() and not reply.token_ids and reply.finish_reason is not None:
        return ""
    if reply.finish_reason is None:
        return "Another chat is writing this reply. Ctrl+R asks for one of your own."
    if is_shared:
        return "The session is open in another chat too. Ctrl+R asks for a reply of your own."
    if reply.finish_reason == "end":
        return "This reply came to its end. Ctrl+R asks for another; or ask for more."
    return ""


def room_to_go_on(reply: Reply, sampling: Sampling) -> int | None:
    """What max new tokens must be raised to, so that a reply which has used it up can grow as much again.

    None where there is room.
    """
    count = len(reply.token_ids)
    return count + sampling.max_new_tokens if count >= sampling.max_new_tokens else None
