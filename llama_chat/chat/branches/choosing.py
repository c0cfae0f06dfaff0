"""What can be done with the message under the cursor, as the line above the prompt says it."""

from __future__ import annotations

from llama_chat.conversation import Conversation, Message, Role


def keys_of(message: Message, conversation: Conversation) -> list[str]:
    """The keys that make sense for this message, with their labels, the useful first: `r again`, `e edit`."""
    has_siblings = (
        len(conversation.siblings(message.id)) > 1 if message.id in conversation.messages else False
    )
    return [
        *_keys_of_role(message),
        "b branch",
        "d delete",
        *(["[ ] other branch"] if has_siblings else []),
        "Esc back",
    ]


def _keys_of_role(message: Message) -> list[str]:
    if message.role is Role.SYSTEM:
        return ["e edit", "c copy"]
    if message.role is Role.USER:
        return ["r again", "e edit", "t tokens", "c copy"]
    reply = message.reply
    can_go_on = reply is None or reply.finish_reason not in (None, "end")
    return ["r again", "e edit", *(["F5 go on"] if can_go_on else []), "t tokens", "c copy"]
