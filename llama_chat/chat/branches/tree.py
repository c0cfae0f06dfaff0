"""The whole conversation as lines: one for each message, drawn like a history with its branches.

The path that is shown runs straight down at the left, however many forks it has. What branches off it is
drawn before it goes on, one step to the right:

    ● you     Tell me about the fox.
    ├─○ model   A fox is an animal.
    │ ○ you     Shorter.
    ● model   Once upon a time …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_chat.chat.branches.siblings import as_shown, edited_reply
from llama_chat.chat.context.summaries import is_instruction
from llama_chat.conversation import Conversation, Message, Role
from llama_chat.markup.attached import in_short
from llama_chat.markup.thoughts import runs_of
from llama_chat.sanitize import one_line

_FIRST_CHARACTERS = 400
"""Of a message that are looked at for its first words."""
_SIDE, _BESIDE, _FIRST_ROOT = "├─", "│ ", "╭─"
_ENDS = {"length": "cut", "stopped": "stopped", "interrupted": "interrupted", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One line."""

    message: Message
    """As it was when the rows were made: it may leave the conversation while they are shown."""
    rails: str
    """The lines of the branches at its left."""
    is_on_path: bool
    place: int
    """Which of its siblings it is, from 1."""
    siblings: int
    """How many there are, itself too."""
    is_edited: bool = False
    """Whether the user has written the model's words anew."""

    @property
    def message_id(self) -> str:
        """Of the message."""
        return self.message.id


def tree_rows(conversation: Conversation) -> list[TreeRow]:
    """Every message once, parents before children.

    At a fork the side branches come first, by age, each with all that is below it; then the child that the
    path leads through goes on straight down, or the newest one off the path.
    """
    on_path = {message.id for message in conversation.path()}
    rows: list[TreeRow] = []
    # What is still to be drawn, the next one last: a message, its place, and the rails of it and below it.
    waiting = _below(conversation, None, "", on_path)
    while waiting:
        message_id, place, siblings, rails, rails_below = waiting.pop()
        if not rows and rails:
            rails = _FIRST_ROOT
        message = conversation.messages[message_id]
        is_edited = edited_reply(conversation, message) is not None
        shown = as_shown(conversation, message)
        rows.append(TreeRow(shown, rails, message_id in on_path, place, siblings, is_edited))
        waiting += _below(conversation, message_id, rails_below, on_path)
    return rows


def _below(
    conversation: Conversation, parent_id: str | None, rails: str, on_path: set[str]
) -> list[tuple[str, int, int, str, str]]:
    """The children, the one that is drawn first last."""
    ids = [message.id for message in conversation.children(parent_id)]
    if not ids:
        return []
    straight = next((child_id for child_id in ids if child_id in on_path), ids[-1])
    found = [(straight, ids.index(straight) + 1, len(ids), rails, rails)]
    sides = [(n, child_id) for n, child_id in enumerate(ids, 1) if child_id != straight]
    found += [(child_id, n, len(ids), rails + _SIDE, rails + _BESIDE) for n, child_id in reversed(sides)]
    return found


def branch_count(conversation: Conversation) -> int:
    """How many ends the tree has."""
    return sum(not conversation.children(message_id) for message_id in conversation.messages)


def rows_with(rows: Sequence[TreeRow], words: str) -> list[TreeRow]:
    """The rows of the messages that hold all of the words, whatever their case; all rows without words."""
    wanted = words.casefold().split()
    if not wanted:
        return list(rows)
    return [row for row in rows if all(word in row.message.text.casefold() for word in wanted)]


def speaker(message: Message) -> str:
    """Who speaks, in a word."""
    return {Role.USER: "you", Role.ASSISTANT: "model", Role.SYSTEM: "system"}[message.role]


def first_words(message: Message) -> str:
    """The beginning of its text, in one safe line."""
    if is_instruction(message):
        return "(asks for a summary)"
    text = in_short(message.text) if message.role is Role.USER else _answer(message.text)
    return one_line(text[:_FIRST_CHARACTERS]) or "(empty)"


def _answer(text: str) -> str:
    """What was said after it was thought about; of a mere thought, that."""
    runs = runs_of(text)
    return "".join(said for is_thought, said in runs if not is_thought).strip() or runs[-1][1]


def facts(row: TreeRow) -> list[str]:
    """What else there is to say of the message, the most useful first: place, end, length."""
    reply = row.message.reply
    parts = [f"‹ {row.place}/{row.siblings} ›" if row.siblings > 1 else ""]
    if row.is_edited:
        parts.append("edited")
    elif reply is not None:
        parts.append("being written" if reply.finish_reason is None else _ENDS.get(reply.finish_reason, ""))
        parts.append(f"{len(reply.token_ids):,} tok" if reply.token_ids else "")
    return [part for part in parts if part]
