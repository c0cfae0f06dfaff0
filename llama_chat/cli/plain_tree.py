"""Commands of the plain chat about the conversation as a tree, whose messages go by their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llama_chat.chat.branches.tree import TreeRow, facts, first_words, speaker, tree_rows
from llama_chat.chat.finding import Needle, fold_case
from llama_chat.cli.plain_words import end_words
from llama_chat.cli.talk import say
from llama_chat.editor import edit_text
from llama_chat.errors import UsageError

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat

_MOST_CHARACTERS = 60


def tree(plain: PlainChat, rest: str) -> None:
    """`/tree`: a line for every message of every branch; `/tree N`: go to the branch with that message.

    Raises:
        UsageError: there is no such message.
    """
    if rest:
        with plain.view.silent():
            plain.chat.steps.show_message(_numbered(plain, rest).message_id)
        say(end_words(plain.chat.conversation.path()))
        return
    rows = tree_rows(plain.chat.conversation)
    for number, row in enumerate(rows, 1):
        where = "" if row.is_on_path else ", on another branch"
        about = ", ".join(part.strip("‹› ").replace("/", " of ") for part in facts(row))
        words = first_words(row.message)[:_MOST_CHARACTERS]
        say(f"{number}{where}, {speaker(row.message)}: {words}{f' ({about})' if about else ''}")
    say("/tree N goes to the branch with message N." if rows else "Nothing was said yet.")


def branch(plain: PlainChat, rest: str) -> None:
    """`/branch N`: say something else behind message N of `/tree`.

    Raises:
        UsageError: there is no such message.
    """
    _do_there(plain, rest, plain.chat.branching.branch)


def delete(plain: PlainChat, rest: str) -> None:
    """`/delete N`: end the path before message N of `/tree`.

    Raises:
        UsageError: there is no such message.
    """
    _do_there(plain, rest, plain.chat.branching.delete_from)


def _do_there(plain: PlainChat, number: str, action: Callable[[str], None]) -> None:
    """Go to the message of that number, act there, and say where the chat ends now."""
    row = _numbered(plain, number)
    with plain.view.silent():
        plain.chat.steps.show_message(row.message_id)
        action(row.message_id)
    say(end_words(plain.chat.conversation.path()))


def find(plain: PlainChat, rest: str) -> None:
    """`/find WORDS`: the messages of this chat that have them.

    Raises:
        UsageError: no words.
    """
    needle = Needle(rest)
    if not needle:
        raise UsageError("/find needs words.", hint="For example: /find slow river")
    path = plain.chat.conversation.path()
    found = [message for message in path if needle.count(fold_case(message.text))]
    for message in found:
        start = needle.spans(fold_case(message.text))[0][0]
        around = " ".join(
            message.text[max(0, start - _MOST_CHARACTERS // 2) :][: 2 * _MOST_CHARACTERS].split()
        )
        say(f"{speaker(message)}: …{around}…")
    if not found:
        say("No message of this chat has these words. /search looks in all sessions.")


def editor(plain: PlainChat, _rest: str) -> None:
    """`/editor`: write in $VISUAL or $EDITOR what is said next.

    Raises:
        LlamaChatError: the editor cannot be used.
    """
    if not plain.reader.is_terminal:
        raise UsageError("/editor needs a terminal.")
    text = edit_text("")
    if text.strip():
        say(text.rstrip())
        plain.say(text)
    else:
        say("Nothing was sent.")


def _numbered(plain: PlainChat, words: str) -> TreeRow:
    rows = tree_rows(plain.chat.conversation)
    if not words.isdecimal() or not 1 <= int(words) <= len(rows):
        raise UsageError("That is no number of a message.", hint="/tree lists them.")
    return rows[int(words) - 1]
