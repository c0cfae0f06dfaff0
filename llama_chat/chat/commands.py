"""Slash commands typed into the prompt: the fallback for every key."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from difflib import get_close_matches

from llama_chat.chat.keys import COMMANDS
from llama_chat.errors import UsageError
from llama_chat.events import Sampling
from llama_chat.setting_values import parsed_value

PREFIX = "/"
_COMMAND = re.compile(r"(/(?:[a-z]+|\?))( [^\n]*)?")


@dataclass(frozen=True, slots=True)
class Command:
    """What a line asks for."""

    action: str
    rest: str = ""


def parse_command(text: str) -> Command | None:
    """The command that the text is; None for words to the model.

    A line that begins with a slash and one word (`/theme ember`), or is nothing but the slash, is meant as
    a command; a path (`/etc/hosts says …`) or anything behind a space is not.

    Raises:
        UsageError: there is no such command, or it takes nothing behind it.
    """
    if text.rstrip() == PREFIX:
        raise UsageError("A command goes on behind the slash. The list names them, F1 what each one does.")
    match = _COMMAND.fullmatch(text.rstrip())
    if match is None:
        return None
    word, rest = match[1], (match[2] or "").strip()
    if word not in COMMANDS:
        near = get_close_matches(word, COMMANDS, n=1)
        hint = f"Did you mean {near[0]}? " if near else "F1 lists them. "
        raise UsageError(
            f"There is no command {word}.", hint=f"{hint}With a space before it, it goes to the model."
        )
    if rest and not COMMANDS[word].words:
        raise UsageError(f"{word} takes nothing behind it.")
    return Command(COMMANDS[word].action, rest)


def parse_setting(words: str) -> tuple[str, float | None]:
    """A field of `Sampling` and its value, from `temperature 0.3` or `top-k=all`; None where none is given.

    Raises:
        UsageError: there is no such setting, or the value does not fit.
    """
    name, _, text = words.replace("=", " ").strip().partition(" ")
    setting = name.replace("-", "_")
    known = {field.name: field for field in fields(Sampling)}
    if setting not in known:
        raise UsageError(f"There is no setting {name!r}.", hint=f"Known: {', '.join(known)}.")
    field = known[setting]
    if not text.strip():
        return setting, None
    if text.strip().casefold() == field.metadata.get("zero"):
        return setting, 0
    try:
        return setting, parsed_value(field, text)
    except ValueError as error:
        raise UsageError(
            f"{setting}: {text.strip()!r} {error}.", hint=f"For example: /set {setting} 1"
        ) from error
