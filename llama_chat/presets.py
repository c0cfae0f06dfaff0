"""Settings of the sampling under a name: those that come with the program, and the user's own.

The user's stand in `settings.toml` as `[presets.NAME]`, with the names and ranges of `[sampling]`. A preset
changes what it names and leaves the rest as it is: the ones of the program say nothing of the length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from llama_chat.errors import UsageError
from llama_chat.sampling import Sampling
from llama_chat.setting_values import checked_value, shown_value
from llama_chat.settings_file import change_file
from llama_chat.toml_edit import with_table, without_table

PRESETS_TABLE = "presets"
OWN = "own"
"""What the values are called that no preset has."""
RESERVED = ("save", "delete", OWN)
NAME_LETTERS = 24
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{NAME_LETTERS - 1}}}")
_FIELDS = {each.name: each for each in fields(Sampling)}


@dataclass(frozen=True, slots=True)
class Preset:
    """Values for some or all settings of the sampling."""

    name: str
    values: Mapping[str, float] = field(hash=False)
    reason: str = ""
    """A sentence: what it is good for."""
    is_own: bool = False
    """Whether it is the user's."""

    def fits(self, sampling: Sampling) -> bool:
        """Whether all that it names is so."""
        return all(getattr(sampling, name) == value for name, value in self.values.items())

    def applied_to(self, sampling: Sampling) -> Sampling:
        """The settings with its values in them."""
        return replace(sampling, **self.values)  # type: ignore[arg-type]  # checked by their fields


_DEFAULTS = Sampling()
_CHOICE = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")

BUILT_IN = (
    Preset(
        "precise",
        {"temperature": 0.2, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.0},
        "Facts, code, summaries: nearly always the likeliest token, and never one from the tail.",
    ),
    Preset(
        "balanced",
        {name: getattr(_DEFAULTS, name) for name in _CHOICE},
        "The defaults: a talk that stays on its subject and does not repeat itself word for word.",
    ),
    Preset(
        "creative",
        {"temperature": 1.1, "top_k": 0, "top_p": 1.0, "min_p": 0.08, "repetition_penalty": 1.05},
        "Stories and ideas: a flat choice among many tokens; min-p alone cuts off what makes no sense.",
    ),
)


def matching_preset(presets: Sequence[Preset], sampling: Sampling) -> Preset | None:
    """The preset that the settings equal: of several, the one that says most; the user's before ours."""
    found = [preset for preset in presets if preset.fits(sampling)]
    return max(found, key=lambda preset: (len(preset.values), preset.is_own), default=None)


def find_preset(presets: Sequence[Preset], name: str) -> Preset:
    """The preset of that name, however its letters are written.

    Raises:
        UsageError: there is none.
    """
    for preset in presets:
        if preset.name.casefold() == name.casefold():
            return preset
    known = ", ".join(preset.name for preset in presets)
    raise UsageError(f"There is no preset {shown_value(name)}.", hint=f"Known: {known}.")


def checked_name(text: str) -> str:
    """The name that a preset of one's own can have: blanks become hyphens.

    Raises:
        UsageError: it cannot be had.
    """
    name = "-".join(text.split())
    if reason := _reason_against(name):
        raise UsageError(f"A preset cannot be called {shown_value(text)}: {reason}.")
    return name


def _reason_against(name: str) -> str:
    if not _NAME.fullmatch(name):
        return f"up to {NAME_LETTERS} letters (a to z), digits, - and _ make a name"
    if name.casefold() in RESERVED:
        return "the word has another meaning"
    if any(preset.name == name.casefold() for preset in BUILT_IN):
        return "that one comes with the program"
    return ""


def read_presets(table: Mapping[str, Any]) -> Iterator[Preset | tuple[tuple[str, ...], str]]:
    """The presets of the table `[presets]`; for what is wrong, where in the table, and what it is."""
    for name, content in table.items():
        if reason := _reason_against(name):
            yield (name,), f"A preset cannot be called {shown_value(name)}: {reason}. It is passed over."
        elif not isinstance(content, dict):
            what = f"{PRESETS_TABLE}.{name}"
            yield (name,), f"'{what}' must be a table, [{what}]. It is passed over."
        else:
            values: dict[str, float] = {}
            for key, value in content.items():
                try:
                    values[key] = checked_value(_FIELDS[key], value)
                except KeyError:
                    known = ", ".join(_FIELDS)
                    why = f"[{PRESETS_TABLE}.{name}] has no setting {shown_value(key)}; there are {known}."
                    yield (name, key), f"{why} It is passed over."
                except ValueError as error:
                    why = f"{PRESETS_TABLE}.{name}.{key} = {shown_value(value)} {error}."
                    yield (name, key), f"{why} The preset leaves it as it is."
            if values:
                yield Preset(name, values, "One of your own.", is_own=True)
            elif not content:
                yield (name,), f"The preset {shown_value(name)} says nothing. It is passed over."


def save_preset(path: Path, preset: Preset) -> None:
    """Write the preset into the settings file in one step; all else in it stays as it is.

    Raises:
        SettingsError: the file is not TOML or cannot be read or written; it is untouched.
    """
    place = (PRESETS_TABLE, preset.name)
    change_file(
        path,
        lambda text: with_table(text, place, preset.values),
        "the preset",
        f"Mend the file, or write [{'.'.join(place)}] into it by hand.",
    )


def delete_preset(path: Path, name: str) -> None:
    """Take the preset out of the settings file, where it is there.

    Raises:
        SettingsError: as `save_preset`.
    """
    place = (PRESETS_TABLE, name)
    change_file(
        path,
        lambda text: without_table(text, place),
        "the change",
        f"Take [{'.'.join(place)}] out by hand.",
    )
