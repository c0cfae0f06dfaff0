"""Every key of the chat as data: the bindings, the footer, the help screen and the palette are made of it.

The defaults leave alone what the prompt edits with (Ctrl+A, E, K, U, W, F, arrows), and each has a fallback
for terminals and multiplexers that keep the key for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Moment: TypeAlias = Literal["ready", "replying", "loading"]


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

    @property
    def name(self) -> str:
        """What it is called in the table `[keys]` of the settings."""
        return self.action if self.action.isidentifier() else self.label.replace(" ", "_")


KEY_ACTIONS = (
    KeyAction("send", ("enter",), "send", "Send the prompt.", bound=False, palette=False, group="Prompt"),
    KeyAction(
        "newline",
        ("ctrl+j", "shift+enter", "alt+enter"),
        "new line",
        "Begin a new line. The setting `enter_sends` swaps it with sending.",
        bound=False,
        palette=False,
        group="Prompt",
    ),
    KeyAction(
        "undo",
        ("ctrl+underscore",),
        "undo",
        "Take back the last edit of the prompt.",
        bound=False,
        palette=False,
        group="Prompt",
    ),
    KeyAction(
        "stop",
        ("escape",),
        "stop",
        "Stop the reply and keep what it says so far.",
        "/stop",
        palette=False,
    ),
    KeyAction(
        "interrupt",
        ("ctrl+c",),
        "copy or stop",
        "Copy what is selected, else stop the reply; twice quits.",
        palette=False,
    ),
    KeyAction(
        "regenerate",
        ("ctrl+r",),
        "again",
        "Let the model answer again; the reply so far stays beside it.",
        "/again",
    ),
    KeyAction("go_on", ("f5",), "go on", "Let a reply go on that was stopped or cut.", "/continue"),
    KeyAction(
        "edit_last",
        ("alt+e",),
        "edit",
        "Say your last words otherwise; what you said stays beside it.",
        "/edit",
    ),
    KeyAction(
        "undo_step",
        ("alt+z",),
        "step back",
        "Undo the last message, edit, choice or deletion; nothing is lost.",
        "/undo",
    ),
    KeyAction("redo_step", ("alt+y",), "step forward", "Redo what was undone.", "/redo"),
    KeyAction("sibling(-1)", ("alt+left",), "previous", "Show the branch before this one.", "/previous"),
    KeyAction("sibling(1)", ("alt+right",), "next", "Show the next branch.", "/next"),
    KeyAction("new_chat", ("ctrl+n",), "new chat", "Begin a new chat; this one stays in the list.", "/new"),
    KeyAction(
        "system_prompt", ("f8",), "system prompt", "Say who the model is and how it answers.", "/system"
    ),
    KeyAction(
        "sampling",
        ("ctrl+o",),
        "sliders",
        "Show or hide the sliders of the sampling.",
        "/set",
        "[SETTING [VALUE]]",
        group="View",
    ),
    KeyAction(
        "sessions",
        ("ctrl+s", "f2"),
        "sessions",
        "Find a past session and open it again.",
        "/sessions",
        group="View",
    ),
    KeyAction(
        "search",
        ("f3",),
        "search",
        "Find words in all sessions.",
        "/search",
        "[WORDS]",
        group="View",
    ),
    KeyAction(
        "rename", (), "rename", "Give this session a name; /rename NAME.", "/rename", "[NAME]", group="View"
    ),
    KeyAction(
        "export",
        (),
        "export",
        "Write this session into a file; /export [md|jsonl|html] [PATH].",
        "/export",
        "[md|jsonl|html] [PATH]",
        group="View",
    ),
    KeyAction(
        "model",
        ("f4",),
        "model",
        "Run another model; /model NAME or PATH.",
        "/model",
        "[NAME or PATH]",
        group="View",
    ),
    KeyAction("theme", ("f9",), "theme", "Choose a theme, with a preview.", "/theme", "[NAME]", group="View"),
    KeyAction(
        "settings",
        ("f12",),
        "settings",
        "All settings: what they are, where they come from, and other values for them.",
        "/settings",
        group="View",
    ),
    KeyAction(
        "palette",
        ("ctrl+p", "f10"),
        "commands",
        "Everything that can be done, to be found by typing.",
        palette=False,
        group="View",
    ),
    KeyAction(
        "key_help",
        ("f1",),
        "help",
        "Show all keys.",
        "/help",
        group="View",
    ),
    KeyAction(
        "load_model", (), "load again", "Load the model again, after it could not be.", "/load", group="View"
    ),
    KeyAction(
        "suspend", ("ctrl+z",), "suspend", "Go back to the shell; `fg` returns.", bound=False, group="View"
    ),
    KeyAction(
        "quit",
        ("ctrl+q",),
        "quit",
        "Leave. Everything is kept; Ctrl+D on an empty prompt does it too.",
        "/quit",
        bound=False,
        group="View",
    ),
)

FOOTER_ORDER: dict[Moment, tuple[str, ...]] = {
    "ready": ("palette", "sampling", "sessions", "regenerate", "key_help"),
    "replying": ("stop", "sampling", "sessions", "palette"),
    "loading": ("palette", "key_help", "sessions"),
}

SLIDER_KEYS = (
    ("← →", "one step"),
    ("PgUp PgDn", "a big step"),
    ("Home End", "to an end"),
    ("0…9", "type a value, Enter takes it"),
    ("d", "back to the default"),
)

SESSION_KEYS = (
    ("Enter", "open the session"),
    ("Ctrl+R", "rename it"),
    ("Del", "delete it; Alt+Z brings it back"),
)

COMMANDS = {name: key for key in KEY_ACTIONS if key.command for name in (key.command, *key.aliases)}
"""The slash commands, by all of their names."""

_NAMES = {
    "escape": "Esc", "enter": "Enter", "left": "←", "right": "→", "up": "↑", "down": "↓",
    "underscore": "_", "pageup": "PgUp", "pagedown": "PgDn", "delete": "Del", "tab": "Tab",
}  # fmt: skip


def key_name(key: str, *, short: bool = False) -> str:
    """What is printed on the keyboard: `Ctrl+S`, or `^S` where there is little room."""
    *modifiers, last = key.split("+")
    name = _NAMES.get(last, last.upper())
    if short and modifiers == ["ctrl"]:
        return f"^{name}"
    return "+".join([*(modifier.capitalize() for modifier in modifiers), name])


def footer_actions(moment: Moment, actions: Sequence[KeyAction] = KEY_ACTIONS) -> list[KeyAction]:
    """The keys that count now, the most useful first."""
    order = FOOTER_ORDER[moment]
    return [key for name in order for key in actions if key.action == name and key.keys]
