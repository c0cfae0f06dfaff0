"""A session as Markdown, to be read by people.

Each message is a quotation: whatever fences, headings or HTML are open in it end where it ends, and what was
written comes back by taking "> " away. Characters that command a terminal are shown as pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

from llama_chat.conversation import Message
from llama_chat.sanitize import one_line, sanitize
from llama_chat.sessions.exchange.branches import Branches
from llama_chat.sessions.records import SessionRecord
from llama_chat.sessions.words import name_of, notes_of, when_text

_MEANS_SOMETHING = re.compile(r"([\\`*_\[\]<>#&~])")


def markdown_parts(record: SessionRecord, *, branches: bool = False) -> Iterator[str]:
    """The text in parts: the path that is shown, or all of the tree."""
    tree = Branches(record.conversation)
    yield f"# {_escaped(record.info.title) or 'Untitled'}\n\n"
    model = f" · {_escaped(record.info.model)}" if record.info.model else ""
    yield f"*{when_text(record.info.created_at)}{model} · session {record.info.id}*\n"
    if not branches:
        yield from (_message(message, record) for message in tree.shown)
        if left_out := len(record.conversation.messages) - len(tree.shown):
            noun = "message" if left_out == 1 else "messages"
            yield f"\n*{left_out:,} {noun} of other branches left out.*\n"
        return
    waiting: list[tuple[int, Message]] = []
    numbers = count(1)
    for message in tree.shown:
        yield from _with_others(message, tree.others(message), record, waiting, numbers)
    waiting += ((next(numbers), each) for each in tree.after_shown())
    while waiting:
        number, first = waiting.pop(0)
        yield f"\n---\n\n# Branch {number}\n"
        for message in tree.path_from(first):
            others = [] if message is first else tree.others(message)
            yield from _with_others(message, others, record, waiting, numbers)


def _with_others(
    message: Message,
    others: list[Message],
    record: SessionRecord,
    waiting: list[tuple[int, Message]],
    numbers: Iterator[int],
) -> Iterator[str]:
    """The message, and where its other versions will stand."""
    named = [(next(numbers), other) for other in others]
    waiting += named
    yield _message(message, record)
    if named:
        yield f"\n*Instead of this message: {', '.join(f'branch {number}' for number, _ in named)}.*\n"


def _message(message: Message, record: SessionRecord) -> str:
    read = record.plain_tokens_of or record.tokens_of
    tokens = read(message.id) if message.reply else ()
    notes = " · ".join([when_text(message.created_at), *map(_escaped, notes_of(message, tokens))])
    lines = sanitize(message.text).split("\n")
    quoted = "\n".join(f"> {line}" if line else ">" for line in lines)
    return f"\n## {_escaped(name_of(message, record))}\n\n*{notes}*\n\n{quoted}\n"


def _escaped(text: str) -> str:
    """One line in which nothing means anything to Markdown."""
    return _MEANS_SOMETHING.sub(r"\\\1", one_line(text))
