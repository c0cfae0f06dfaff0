"""One key of the chat as data."""

from __future__ import annotations

from dataclasses import dataclass

_NAMES = {
    "escape": "Esc", "enter": "Enter", "left": "←", "right": "→", "up": "↑", "down": "↓",
    "underscore": "_", "pageup": "PgUp", "pagedown": "PgDn", "delete": "Del", "tab": "Tab",
    "home": "Home", "end": "End",
}  # fmt: skip


def key_name(key: str, *, short: bool = False) -> str:
    """What is printed on the keyboard: `Ctrl+S`, or `^S` where there is little room."""
    *modifiers, last = key.split("+")
    name = _NAMES.get(last, last.upper())
    if short and modifiers == ["ctrl"]:
        return f"^{name}"
    return "+".join([*(modifier.capitalize() for modifier in modifiers), name])


@dataclass(frozen=True, slots=True)
class KeyAction:
    """One thing that can be done, and how to reach it."""

    action: str
    """Name of the method, without `action_`."""
    keys: tuple[str, ...]
    """As Textual names them, the first one is shown."""
    label: str
    """One or two words, for the footer."""
    help: str
    """A sentence, for the help screen and the palette."""
    command: str = ""
    """The slash command that does the same."""
    words: str = ""
    """What may stand behind the command, as its help names it; empty: nothing."""
    aliases: tuple[str, ...] = ()
    """Other names of the command, as other programs have them."""
    bound: bool = True
    """Off for keys that a widget handles itself."""
    palette: bool = True
    """Whether the palette lists it."""
    group: str = "Chat"
    """The heading of the help screen that it stands under."""
    is_counted: bool = False
    """Whether each of the keys does it for the thing of its own number: the second key for the second one."""

    @property
    def name(self) -> str:
        """What it is called in the table `[keys]` of the settings."""
        return self.action if self.action.isidentifier() else self.label.replace(" ", "_")

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """Each key, and the action that it calls."""
        if self.is_counted:
            return tuple((key, f"{self.action}({number})") for number, key in enumerate(self.keys, 1))
        return tuple((key, self.action) for key in self.keys)

    @property
    def key_names(self) -> list[str]:
        """What is printed on the keys; many that are counted as their first and last: `Alt+1…9`."""
        names = [key_name(key) for key in self.keys]
        if self.is_counted and len(names) > 2 and len({name[:-1] for name in names}) == 1:
            return [f"{names[0]}…{names[-1][-1]}"]
        return names
