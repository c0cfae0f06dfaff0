"""What `/seed`, `/preset` and `/persona` do in the plain chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_chat.chat.picks.preset_shelf import taken_sentence
from llama_chat.chat.picks.seeds import FRESH, parse_seed
from llama_chat.cli.talk import say

if TYPE_CHECKING:
    from llama_chat.cli.plain import PlainChat


def seed(plain: PlainChat, rest: str) -> None:
    """Lock the seed of the replies or free it; without words, say what it is.

    Raises:
        UsageError: the words are no seed, or there is no reply yet.
    """
    if rest:
        plain.chat.seed = parse_seed(rest, last=plain.chat.last_seed)
        plain.bridge.save_setting("chat", "seed", plain.chat.seed)
    locked = f"The seed is locked: {plain.chat.seed} for every reply. /seed {FRESH} unlocks it."
    say("Every reply has a fresh seed." if plain.chat.seed < 0 else locked)


def preset(plain: PlainChat, rest: str) -> None:
    """Take, save or delete a preset; without words, list what there is.

    Raises:
        UsageError: there is none of that name, or none can be called so.
    """
    if rest:
        say(plain.presets.run(rest))
        return
    now = plain.bridge.sampling.current
    for each in plain.presets.presets:
        is_now = " (as it is now)" if each == plain.presets.current else ""
        what = "as it is now." if is_now else taken_sentence(each, now).partition(": ")[2]
        say(f"{each.name}{is_now}: {each.reason}" + ("" if is_now else f" It would change: {what}"))


def persona(plain: PlainChat, rest: str) -> None:
    """Take a persona's text as the system prompt; without words, list what there is.

    Raises:
        UsageError: there is none of that name.
    """
    from llama_chat.personas import load_personas
    from llama_chat.sanitize import one_line

    loaded = load_personas(plain.paths.prompts)
    if rest:
        chosen = loaded.find(rest)
        with plain.view.silent():
            plain.chat.set_system(chosen.text)
        return
    for notice in loaded.notices:
        say(notice)
    current = loaded.of_text(plain.chat.conversation.system)
    for each in loaded.personas:
        is_now = ", as it is now" if each == current else ""
        say(f"{one_line(each.title)}{' (yours)' if each.is_own else ''}{is_now}: {one_line(each.text)}")
    say(f"/persona NAME takes one. Your own are files in {plain.paths.prompts}.")
