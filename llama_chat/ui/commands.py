"""Slash commands typed into the prompt: the fallback for every key."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llama_chat.errors import UsageError
from llama_chat.events import Sampling
from llama_chat.ui.keys import COMMANDS
from llama_chat.ui.scale import Scale


@dataclass(frozen=True, slots=True)
class Command:
    """What a line asks for."""

    action: str
    rest: str = ""


def parse_command(text: str) -> Command | None:
    """The command that the text is; None for words to the model, which may well begin with a slash."""
    word, _, rest = text.strip().partition(" ")
    action = COMMANDS.get(word)
    if action is None or "\n" in rest or (rest.strip() and word != "/set"):
        return None
    return Command(action, rest.strip())


def parse_setting(words: str) -> tuple[str, float]:
    """A field of `Sampling` and its value, from `temperature 0.3` or `top-k=all`.

    Raises:
        UsageError: there is no such setting, or the value is no number.
    """
    name, _, text = words.replace("=", " ").strip().partition(" ")
    setting = name.replace("-", "_")
    known = {field.name: field for field in fields(Sampling)}
    if setting not in known:
        raise UsageError(f"There is no setting {name!r}.", hint=f"Known are {', '.join(known)}.")
    field = known[setting]
    value = Scale.of_setting(field.default, field.metadata).parse(text)
    if value is None:
        raise UsageError(f"{setting}: {text.strip()!r} is no number.", hint=f"For example: /set {setting} 1")
    return setting, value
