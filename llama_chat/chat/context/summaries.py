"""A summary in the place of the older part of a conversation: how it is asked for, told apart and put in.

Roles are a closed set, so a summary is a user's message whose first line says what it is: it survives every
export and import, and any template can render it. A short answer to it follows, since many templates want the
roles to take turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llama_chat.conversation import Conversation, Message, Reply, Role

INSTRUCTION = (
    "Summarise our conversation up to here, so that we can go on from the summary alone. Keep names, "
    "numbers, decisions, open questions and what I asked of you; leave out greetings. Write only the "
    "summary, in the language that we speak, in at most 200 words."
)
_ASKED = frozenset({INSTRUCTION})
"""In whatever words it was ever asked: another wording joins them, so that what is stored is known by it."""
ACKNOWLEDGEMENT = "Understood. I go on from this summary."
SUMMARY_MESSAGES = 2
"""The summary and the answer to it."""
_FIRST_LINE = re.compile(r"Summary of our conversation so far \((\d[\d,]*) messages?\):")
KEPT_EXCHANGES = 2
"""So many of the last questions with their answers stay as they are."""
MOST_KEPT = 3
"""So many times the letters of the older part; where more would stay, little would be gained."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A path without its system prompt, cut in two."""

    older: tuple[Message, ...]
    """What is summarised; another message than the user's comes last, unless the conversation is odd."""
    kept: tuple[Message, ...]
    """What stays as it is, from a question of the user's on."""


def summary_text(words: str, messages: int) -> str:
    """The text of the message that stands for so many others."""
    noun = "message" if messages == 1 else "messages"
    return f"Summary of our conversation so far ({messages:,} {noun}):\n\n{words.strip()}"


def summarised_messages(message: Message) -> int:
    """How many messages it stands for; 0 where it is no summary."""
    match = _FIRST_LINE.match(message.text) if message.role is Role.USER else None
    return int(match[1].replace(",", "")) if match else 0


def parts_of(turns: Sequence[Message]) -> Parts | None:
    """The turns in two parts; None where there is nothing that a summary would shorten.

    The last two exchanges stay; only the last one where both are nearly all of it.
    """
    questions = [n for n, turn in enumerate(turns) if turn.role is Role.USER]
    for exchanges in range(KEPT_EXCHANGES, 0, -1):
        if len(questions) <= exchanges:
            continue
        cut = questions[-exchanges]
        older, kept = turns[:cut], turns[cut:]
        is_old_summary = len(older) <= SUMMARY_MESSAGES and summarised_messages(older[0]) > 0
        if not is_old_summary and (exchanges == 1 or _length(kept) <= MOST_KEPT * _length(older)):
            return Parts(tuple(older), tuple(kept))
    return None


def count_of(older: Sequence[Message]) -> int:
    """How many messages these stand for, with those that an earlier summary among them stands for."""
    earlier = summarised_messages(older[0]) if older else 0
    return len(older) + (earlier - SUMMARY_MESSAGES if earlier else 0)


def _length(turns: Sequence[Message]) -> int:
    return sum(len(turn.text) for turn in turns)


def put_in(
    conversation: Conversation, system_id: str | None, summary: str, kept: Sequence[Message]
) -> tuple[list[Message], dict[str, str]]:
    """The messages of the new branch, which is taken from now on, and the old ids of the copies by their new.

    What a reply no longer saw of the older part counts no longer: the model sees the summary.
    """
    conversation.leaf_id = system_id
    added = [
        conversation.append(Role.USER, summary),
        conversation.append(Role.ASSISTANT, ACKNOWLEDGEMENT),
    ]
    seeing_all = [turn if turn.reply is None else _seeing_all(turn, turn.reply) for turn in kept]
    copies, originals = conversation.append_copies(seeing_all)
    return added + copies, originals


def is_instruction(message: Message) -> bool:
    """Whether it is the question for a summary, which the program asks and nobody has said."""
    return message.role is Role.USER and message.text in _ASKED


def take_out_unfinished(conversation: Conversation) -> list[Message]:
    """What is taken out: questions for summaries that were never put in, as the program ended before.

    Each comes behind its answer. Where the path led through one, it leads to what was written last beside it:
    which branch was shown before is kept nowhere. What another chat is writing stays.
    """
    gone: list[Message] = []
    for question in [*filter(is_instruction, conversation.messages.values())]:
        answers = conversation.children(question.id)
        if any(map(_is_going_on, answers)) or any(conversation.children(answer.id) for answer in answers):
            continue
        is_shown = conversation.leaf_id in (question.id, *(answer.id for answer in answers))
        for message in (*answers, question):
            conversation.remove(message.id)
            gone.append(message)
        if is_shown:
            conversation.leaf_id = _written_last(conversation, question.parent_id)
    return gone


def _written_last(conversation: Conversation, parent_id: str | None) -> str | None:
    """The id of what was written last below the message; its own where nothing is below it."""
    last, below = parent_id, {parent_id}
    for message in conversation.messages.values():  # as they were written
        if message.parent_id in below:
            below.add(message.id)
            last = message.id
    return last


def _is_going_on(answer: Message) -> bool:
    return answer.reply is not None and answer.reply.finish_reason is None


def _seeing_all(turn: Message, reply: Reply) -> Message:
    return replace(turn, reply=replace(reply, context_start=None))
