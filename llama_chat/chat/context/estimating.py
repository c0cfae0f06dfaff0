"""About how many tokens messages take, where no model has counted them."""

from __future__ import annotations

from collections.abc import Sequence

from llama_chat.conversation import Message

LETTERS_PER_TOKEN = 4.0
"""Of English, in the vocabularies of the Llama family; used where no reply tells better."""
TEMPLATE_TOKENS = 5
"""That a template puts around a message."""


def estimated_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens the messages are in a prompt, where no model has counted them."""
    replies = [each for each in messages if each.reply is not None and each.reply.token_ids and each.text]
    letters = sum(len(each.text) for each in replies)
    ids = sum(len(each.reply.token_ids) for each in replies if each.reply is not None)
    per_token = letters / ids if ids else LETTERS_PER_TOKEN
    counted = set(map(id, replies))
    others = sum(len(each.text) for each in messages if id(each) not in counted)
    return ids + round(others / per_token) + TEMPLATE_TOKENS * len(messages)
