"""Commands of the plain chat about code and the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.chat.code_files import save_code as write_block
from llama_chat.chat.context.figures import context_rows
from llama_chat.cli.talk import say
from llama_chat.conversation import Role

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat
    from llama_chat.markup.code_blocks import CodeBlock


def save_code(plain: PlainChat, rest: str) -> None:
    """`/code [N] [PATH]`: write a code block of the last reply that has one, the last one without a number.

    Raises:
        StoreError: it cannot be written.
    """
    blocks = _last_blocks(plain)
    first, _, path = rest.partition(" ")
    number = int(first) if first.isdecimal() else len(blocks)
    if not 1 <= number <= len(blocks):
        say(notices.no_code_block(number, len(blocks)))
        return
    block = blocks[number - 1]
    target = write_block(path if first.isdecimal() else rest, block)
    say(f"Code block {number} of {len(blocks)} was saved to {target}")


def _last_blocks(plain: PlainChat) -> list[CodeBlock]:
    from llama_chat.markup.code_blocks import code_blocks  # with markdown-it, for this command only

    replies = (each for each in reversed(plain.chat.conversation.path()) if each.role is Role.ASSISTANT)
    return next((found for reply in replies if (found := code_blocks(reply.text))), [])


def tell_context(plain: PlainChat, _rest: str) -> None:
    """`/context`: a line for each part."""
    status = plain.chat.status
    about = "about " if status.is_estimate else ""
    say(f"The context holds {about}{status.context_used:,} of {status.context_length:,} tokens.")
    for row in context_rows(plain.chat.conversation.path(), status):
        say(f"{row.name}: {row.figure}")


def compact(plain: PlainChat, _rest: str) -> None:
    """`/compact`: wait for the summary of the older part."""
    plain.go_on_with_this_model()
    with plain.view.silent():
        plain.chat.compacting.begin()
        plain.wait_for_reply()
