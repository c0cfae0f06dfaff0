"""The presets of one chat: taken, saved and deleted; what is not said by a preset's name is said here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.errors import UsageError
from llama_chat.events import Sampling
from llama_chat.presets import (
    BUILT_IN,
    OWN,
    Preset,
    checked_name,
    delete_preset,
    find_preset,
    matching_preset,
    save_preset,
)
from llama_chat.sampling import setting_label, setting_value

PRESET_WORDS = "[NAME | save NAME | delete NAME]"


class PresetShelf:
    """Ours and the user's, as they are now.

    Args:
        bridge: to the sampling, and to the thread that writes settings.
        own: the user's, as they were read.
        path: of the settings file; None: nothing is written, the presets are there until the end.
    """

    def __init__(self, bridge: Bridge, own: Sequence[Preset], path: Path | None) -> None:
        self._bridge = bridge
        self._own = list(own)
        self._path = path

    @property
    def presets(self) -> Sequence[Preset]:
        """All there are, ours first."""
        return (*BUILT_IN, *self._own)

    @property
    def current(self) -> Preset | None:
        """The one that the settings equal now."""
        return matching_preset(self.presets, self._bridge.sampling.current)

    @property
    def name(self) -> str:
        """Its name; `own` where there is none."""
        return self.current.name if self.current else OWN

    def take(self, preset: Preset, before: Sampling | None = None) -> None:
        """Let its values count from the next token on, and keep those that are other ones than before."""
        old = before or self._bridge.sampling.current
        self._bridge.sampling.current = preset.applied_to(old)
        for name, value in preset.values.items():
            if getattr(old, name) != value:
                self._bridge.save_setting("sampling", name, value)

    def run(self, words: str) -> str:
        """Do what stands behind the command; what is to be said of it.

        Raises:
            UsageError: there is no such preset, or it cannot be called so.
        """
        verb, _, rest = words.strip().partition(" ")
        if verb == "save":
            return self.save(rest)
        if verb == "delete":
            return self.delete(rest)
        preset = find_preset(self.presets, words.strip())
        told = taken_sentence(preset, self._bridge.sampling.current)
        self.take(preset)
        return told

    def save(self, name: str) -> str:
        """Keep the values as they are now under this name; what is to be said of it.

        Raises:
            UsageError: it cannot be called so.
        """
        name = checked_name(name)
        old = next((each for each in self._own if each.name.casefold() == name.casefold()), None)
        values: dict[str, float] = asdict(self._bridge.sampling.current)
        preset = Preset(old.name if old else name, values, "One of your own.", is_own=True)
        self._own = [preset if each is old else each for each in self._own] + [preset] * (old is None)
        self._write(lambda path: save_preset(path, preset))
        how = "is saved anew" if old else "is saved"
        if self._path is None:
            how = "is there until the end of this chat"
        return f"The preset {preset.name} {how}. /preset {preset.name} takes it."

    def delete(self, name: str) -> str:
        """Forget the user's preset of this name; what is to be said of it.

        Raises:
            UsageError: there is none, or it is one of ours.
        """
        preset = find_preset(self.presets, name.strip())
        if not preset.is_own:
            raise UsageError(f"The preset {preset.name} comes with the program; it stays.")
        self._own.remove(preset)
        self._write(lambda path: delete_preset(path, preset.name))
        until = "" if self._path is not None else " until the end of this chat"
        return f"The preset {preset.name} is deleted{until}; the values stay as they are."

    def _write(self, change: Callable[[Path], object]) -> None:
        if (path := self._path) is not None:
            self._bridge.write(lambda: change(path))


def taken_sentence(preset: Preset, old: Sampling) -> str:
    """What taking the preset changes, in a sentence."""
    changes = ", ".join(
        f"{setting_label(name)} {setting_value(name, value)}" for name, _, value in changes_of(preset, old)
    )
    return f"{preset.name}: {changes} from the next token on." if changes else f"{preset.name} it is already."


def changes_of(preset: Preset, old: Sampling) -> list[tuple[str, float, float]]:
    """Setting, old value and new one, of those that the preset would change."""
    return [
        (name, getattr(old, name), value)
        for name, value in preset.values.items()
        if getattr(old, name) != value
    ]
