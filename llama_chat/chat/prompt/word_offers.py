"""What may stand behind a slash command, where that is known: one function for each action.

A new command with words that are known gets one here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

from llama_chat.chat.prompt.completing import Offer
from llama_chat.chat.setup import ChatSetup
from llama_chat.events import Sampling
from llama_chat.presets import Preset
from llama_chat.sampling import setting_value
from llama_chat.sanitize import one_line
from llama_chat.sessions import SessionStore

MOST_SESSIONS = 1_000


@dataclass(frozen=True, slots=True)
class Known:
    """Where the words come from."""

    setup: ChatSetup
    store: SessionStore
    sampling: Sampling
    themes: Sequence[str]
    presets: Sequence[Preset]


Source: TypeAlias = Callable[[Known], list[Offer]]


def _themes(known: Known) -> list[Offer]:
    return [Offer(name, name) for name in sorted(known.themes)]


def _settings(known: Known) -> list[Offer]:
    offers = []
    for field in fields(Sampling):
        now = setting_value(field.name, getattr(known.sampling, field.name))
        help_text = f"{now} now. {field.metadata['help']}"
        offers.append(Offer(f"{field.name} ", field.name, "VALUE", help_text, goes_on=True, must_go_on=True))
    return offers


def _presets(known: Known) -> list[Offer]:
    return [Offer(preset.name, preset.name, help=preset.reason) for preset in known.presets]


def _personas(known: Known) -> list[Offer]:
    from llama_chat.personas import load_personas

    found = load_personas(known.setup.paths.prompts).personas
    return [Offer(one_line(each.title), one_line(each.title), help=one_line(each.text)) for each in found]


def _devices(_known: Known) -> list[Offer]:
    about = {"auto": "The best one there is.", "cpu": "The processor."}
    kinds = {"cuda": "NVIDIA", "rocm": "AMD", "xpu": "Intel", "mps": "Apple"}
    about |= {name: f"A graphics card of {maker}." for name, maker in kinds.items()}
    return [Offer(name, name, help=text) for name, text in about.items()]


def _seeds(_known: Known) -> list[Offer]:
    about = {
        "fresh": "Every reply draws another one.",
        "lock": "The seed of the last reply, for the next ones.",
    }
    return [Offer(name, name, help=text) for name, text in about.items()]


def _models(known: Known) -> list[Offer]:
    from llama_chat.shelves.listing import SHELF_TITLES, list_found
    from llama_chat.units import bytes_text

    found = list_found(known.setup.paths)
    return [
        Offer(
            model.name,
            one_line(Path(model.name).name if model.shelf == "recent" else model.name),
            help=f"{SHELF_TITLES[model.shelf]}, {bytes_text(model.size_bytes)}",
        )
        for model in found
        if not model.problem
    ]


def _formats(_known: Known) -> list[Offer]:
    about = {"md": "Markdown, to read", "jsonl": "everything, to import again", "html": "a page, to show"}
    return [Offer(f"{name} ", name, "[PATH]", text, goes_on=True) for name, text in about.items()]


def _titles(known: Known) -> list[Offer]:
    titles = dict.fromkeys(one_line(info.title) for info in known.store.list(MOST_SESSIONS))
    return [Offer(title, title) for title in titles if title]


QUICK_SOURCES: dict[str, Source] = {
    "theme": _themes,
    "sampling": _settings,
    "presets": _presets,
    "seed": _seeds,
    "device": _devices,
    "export": _formats,
}
"""By the action of the command; these read nothing, and are called by the screen itself."""

SLOW_SOURCES: dict[str, Source] = {"model": _models, "personas": _personas, "sessions": _titles}
"""These read from a disk: on a thread of their own."""

FREE_WORDS = frozenset({"sessions"})
"""Commands to which any words are good: Enter sends what is typed, not what it might become."""
