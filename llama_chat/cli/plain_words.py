"""What the chat says of keys, said of the commands that do the same where there are no keys."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from llama_chat.chat.keys import KEY_ACTIONS, key_name
from llama_chat.chat.words import name_of
from llama_chat.conversation import Message, Role
from llama_chat.markup.attached import in_short
from llama_chat.sanitize import one_line, sanitize

_OTHERWISE = {
    "Esc": "Ctrl+C",  # nothing can be typed while a reply is written
    "Ctrl+C": "Ctrl+C",
}
_EXCERPT_LETTERS = 60


def without_keys(text: str) -> str:
    """The text with each key of the chat's screen replaced by the command that does the same."""
    pattern, commands = _keys()
    return pattern.sub(lambda match: commands[match[0]], text)


@functools.cache
def _keys() -> tuple[re.Pattern[str], Mapping[str, str]]:
    commands = {key_name(key): action.command for action in KEY_ACTIONS for key in action.keys}
    commands = {key: command for key, command in commands.items() if command} | _OTHERWISE
    names = "|".join(re.escape(name) for name in sorted(commands, key=len, reverse=True))
    return re.compile(rf"(?<![\w+])(?:{names})(?![\w+])"), commands


def end_words(path: Sequence[Message]) -> str:
    """Where the chat ends now."""
    return f"The chat now ends with {excerpt(path[-1])}" if path else "The chat is at its beginning."


def excerpt(message: Message) -> str:
    """Who said it, and its first words."""
    words = one_line(in_short(message.text) if message.role is Role.USER else message.text)
    short = words if len(words) <= _EXCERPT_LETTERS else words[: _EXCERPT_LETTERS - 1].rstrip() + "…"
    return f"{name_of(message)}: {short}"


def shared_length(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items at the beginning are the same in both."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (mine, yours) in pairs if mine != yours), min(len(one), len(other)))


def quoted(title: str) -> str:
    """A title in a sentence."""
    return f"“{' '.join(sanitize(title).split())}”"
