"""Whether a reply can go on from its last token, and if not, why."""

from __future__ import annotations

from llama_chat.chat import notices
from llama_chat.conversation import Message, Reply
from llama_chat.events import Sampling


def why_it_cannot_go_on(message: Message | None, *, is_shared: bool) -> str:
    """A sentence for the user; empty when the reply can go on.

    Args:
        message: the last one of the path.
        is_shared: another chat has the session open, and may go on with it.
    """
    reply = message.reply if message else None
    if message is None or reply is None:
        return notices.NOTHING_TO_GO_ON_WITH
    if reply.finish_reason is None:
        return "Another chat is writing this reply. Ctrl+R asks for one of your own."
    if is_shared:
        return "The session is open in another chat too. Ctrl+R asks for a reply of your own."
    if reply.finish_reason == "end":
        return "This reply came to its end. Ctrl+R asks for another; or ask for more."
    if message.text and not reply.token_ids:
        return "This reply cannot go on: its tokens are not known. Ctrl+R asks for another."
    return ""


def room_to_go_on(reply: Reply, sampling: Sampling) -> int | None:
    """What max new tokens must be raised to, so that a reply which has used it up can grow as much again.

    None where there is room.
    """
    count = len(reply.token_ids)
    return count + sampling.max_new_tokens if count >= sampling.max_new_tokens else None
