"""What is being typed that could be completed: a slash command, words behind it, or `@` and a path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llama_chat.chat.keys import COMMANDS, KEY_ACTIONS, KeyAction

Kind: TypeAlias = Literal["command", "words", "path"]

TAKES_PATHS = frozenset({"attach"})
"""Actions of commands that take paths; the last one of several is completed."""

_COMMAND = re.compile(r"/(?:[a-z]*|\?)")
_WORDS = re.compile(r"(/[a-z]+) (.*)")
_LAST_PATH = re.compile(r"(?:\\.|[^\s\\])*$")
_PATH = re.compile(r"(?:^|(?<=[\s(]))@((?:\\.|[^\s\\])*)$")


@dataclass(frozen=True, slots=True)
class Typed:
    """The piece of the line that a completion takes the place of: from `start` to the cursor."""

    kind: Kind
    start: int
    text: str
    """Of a path: without the `@`, and what is escaped as it is."""
    action: str = ""
    """Of the command whose words they are."""
    words: str = ""
    """All that stands behind that command: of several paths the last one is completed, or all are one."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to go on."""

    text: str
    """What takes the place of what was typed."""
    name: str
    """How it is listed."""
    takes: str = ""
    """What may stand behind it."""
    help: str = ""
    goes_on: bool = False
    """Whether more can be typed behind it."""
    must_go_on: bool = False
    """Whether it is nothing without that: Enter does not send it yet."""
    path: str = ""
    """Of a file that is attached when it is taken."""


def typed_in(line: str, column: int, *, is_only_line: bool) -> Typed | None:
    """What could be completed before the cursor; None where nothing is.

    Args:
        line: the one that the cursor is in.
        column: of the cursor.
        is_only_line: a command stands alone.
    """
    before, after = line[:column], line[column:]
    if is_only_line and line.startswith("/") and not after:
        if _COMMAND.fullmatch(before):
            return Typed("command", 0, before)
        if (found := _WORDS.fullmatch(before)) and (action := COMMANDS.get(found[1])) and action.words:
            start = found.start(2)
            if action.action in TAKES_PATHS and (last := _LAST_PATH.search(before)):
                start = last.start()
            return Typed("words", start, before[start:], action.action, found[2])
        return None
    if (at := _PATH.search(before)) and not after[:1].strip():
        return Typed("path", at.start(), unescaped(at[1]))
    return None


def unescaped(text: str) -> str:
    """The path that was typed, in which a backslash may stand before a space."""
    return re.sub(r"\\(.)", r"\1", text)


def escaped(path: str) -> str:
    """The path as it can be typed behind an `@`, or among others."""
    return re.sub(r"([\s\\'\"])", r"\\\1", path)


def is_whole(typed: Typed) -> bool:
    """Whether what is typed is a command already, by any of its names: Enter sends it then."""
    return typed.kind == "command" and (typed.text in COMMANDS or typed.text == "/")


def command_offers(typed: str, actions: Sequence[KeyAction] = KEY_ACTIONS) -> list[Offer]:
    """The commands whose name or other name begins with what is typed, the one that is it wholly first."""
    found: list[tuple[int, Offer]] = []
    for action in sorted(actions, key=lambda action: action.group == "Prompt"):  # what serves the talk first
        if action.command and (rank := _rank(action, typed)) is not None:
            also = next((alias for alias in action.aliases if alias.startswith(typed)), "")
            is_by_alias = not action.command.startswith(typed)
            text = f"{action.help} (also {also})" if is_by_alias and also else action.help
            offer = Offer(
                f"{action.command} " if action.words else action.command,
                action.command,
                action.words,
                text,
                goes_on=bool(action.words),
                must_go_on=bool(action.words) and not action.words.startswith("["),
            )
            found.append((rank, offer))
    return [offer for _, offer in sorted(found, key=lambda each: each[0])]  # stable: in the table's order


def _rank(action: KeyAction, typed: str) -> int | None:
    names = (action.command, *action.aliases)
    if typed in names:
        return 0
    if action.command.startswith(typed):
        return 1
    if any(alias.startswith(typed) for alias in action.aliases):
        return 2
    return 3 if len(typed) > 3 and typed[1:] in action.command else None


def fitting(offers: Iterable[Offer], typed: str) -> list[Offer]:
    """Those that begin with what is typed, by their name or in full, then those that hold it elsewhere."""
    wanted = typed.casefold().strip()
    first, others = [], []
    for offer in offers:
        known = (offer.name.casefold(), offer.text.casefold())
        if any(words.startswith(wanted) for words in known):
            first.append(offer)
        elif any(wanted in words for words in known):
            others.append(offer)
    return first + others
