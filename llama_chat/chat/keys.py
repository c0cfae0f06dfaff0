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
        "editor",
        ("ctrl+g",),
        "editor",
        "Write the prompt in $VISUAL or $EDITOR; nothing is sent by that.",
        "/editor",
        group="Prompt",
    ),
    KeyAction(
        "history",
        ("alt+h",),
        "history",
        "Find what was said before, in all sessions, and say it again; Up and Down go through it.",
        "/history",
        "[WORDS]",
        group="Prompt",
    ),
    KeyAction(
        "queue",
        ("alt+q",),
        "take back",
        "Take the words that wait for the end of the reply back into the prompt.",
        "/queue",
        group="Prompt",
    ),
    KeyAction(
        "attach",
        ("alt+o",),
        "attach",
        "Give the model a text file to read, with your next words; /attach PATH. Dropping it here does it too.",
        "/attach",
        "[PATH…]",
        group="Prompt",
    ),
    KeyAction(
        "look_at_chip",
        ("alt+v",),
        "look",
        "Look at a file or a long paste in the prompt; Enter puts it into the text.",
        "/look",
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
        aliases=("/retry", "/regenerate"),
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
    KeyAction(
        "choose(-1)",
        ("alt+up",),
        "message above",
        "Choose a message; what can be done with it is named above the prompt.",
    ),
    KeyAction("choose(1)", ("alt+down",), "message below", "Choose the message below."),
    KeyAction(
        "branch",
        ("alt+n",),
        "branch",
        "Say something else behind the chosen message; what followed it stays in the tree.",
        "/branch",
    ),
    KeyAction(
        "delete_from_here",
        (),
        "delete from here",
        "End the path before the chosen message; it stays in the tree, and Alt+Z brings it back.",
        "/delete",
    ),
    KeyAction(
        "tree",
        ("alt+t",),
        "tree",
        "All branches of the conversation, and every message of them.",
        "/tree",
    ),
    KeyAction("sibling(-1)", ("alt+left",), "previous", "Show the branch before this one.", "/previous"),
    KeyAction("sibling(1)", ("alt+right",), "next", "Show the next branch.", "/next"),
    KeyAction(
        "new_chat",
        ("ctrl+n",),
        "new chat",
        "Begin a new chat; this one stays in the list.",
        "/new",
        aliases=("/clear",),
    ),
    KeyAction(
        "system_prompt",
        ("f8",),
        "system prompt",
        "Say who the model is and how it answers.",
        "/system",
        "[TEXT]",
    ),
    KeyAction(
        "personas",
        ("alt+r",),
        "personas",
        "Choose a system prompt of your folder `prompts`, or one of ours.",
        "/persona",
        "[NAME]",
    ),
    KeyAction(
        "copy_message",
        ("alt+c",),
        "copy",
        "Copy the chosen message, else the last one; /copy N copies its N-th code block, /copy all the chat.",
        "/copy",
        "[N|all]",
        group="Copy and context",
    ),
    KeyAction(
        "copy_code",
        tuple(f"alt+{number}" for number in range(1, 10)),
        "copy code",
        "Copy the first, second, … code block of the chosen message, else of the last one that has code.",
        palette=False,
        group="Copy and context",
        is_counted=True,
    ),
    KeyAction(
        "copy_all",
        ("alt+a",),
        "copy all",
        "Copy the whole chat as Markdown; /copy all does it too.",
        group="Copy and context",
    ),
    KeyAction(
        "context",
        ("alt+i",),
        "context",
        "Show what is in the context, how much of it is free, and what was left out.",
        "/context",
        group="Copy and context",
    ),
    KeyAction(
        "compact",
        ("alt+k",),
        "compact",
        "Let the model summarise the older part of the chat; what was said stays on its branch.",
        "/compact",
        group="Copy and context",
    ),
    KeyAction(
        "save_code",
        ("alt+s",),
        "save code",
        "Save a code block to a file; /code 2 NAME saves the second one without asking.",
        "/code",
        "[N] [PATH]",
        group="Copy and context",
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
        "presets",
        ("alt+p",),
        "presets",
        "Precise, balanced, creative or your own: sampling by name, with a preview.",
        "/preset",
        "[NAME | save NAME | delete NAME]",
        group="View",
    ),
    KeyAction(
        "seed",
        ("alt+l",),
        "seed",
        "Lock the seed of the last reply for those to come, or free it.",
        "/seed",
        "[N|fresh|lock]",
        group="View",
    ),
    KeyAction(
        "sessions",
        ("ctrl+s", "f2"),
        "sessions",
        "Find a past session and open it again; /load WORDS looks for its title.",
        "/sessions",
        "[WORDS]",
        aliases=("/load",),
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
        "save",
        (),
        "save",
        "Everything is kept as it is said; /save NAME gives the session a name.",
        "/save",
        "[NAME]",
        palette=False,
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
    KeyAction(
        "find",
        ("ctrl+l",),
        "find",
        "Find words in this chat; /find WORDS.",
        "/find",
        "[WORDS]",
        group="View",
    ),
    KeyAction(
        "to_end",
        ("ctrl+end",),
        "to the end",
        "Go to the end of the chat and follow the reply.",
        "/end",
        group="View",
    ),
    KeyAction(
        "fold_thinking",
        ("alt+m",),
        "thinking",
        "Fold or unfold everything that the model thought before it answered.",
        "/think",
        group="View",
    ),
    KeyAction(
        "device",
        ("alt+d",),
        "device",
        "Run the model on another device; /device NAME, as in /device cpu.",
        "/device",
        "[auto|cpu|cuda[:N]|rocm[:N]|xpu[:N]|mps]",
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
        aliases=("/?",),
        group="View",
    ),
    KeyAction(
        "welcome",
        (),
        "welcome",
        "The first screens once more: this machine, a model for it, the first words.",
        "/welcome",
        group="View",
    ),
    KeyAction(
        "load_model",
        (),
        "load again",
        "Load the model again, after it could not be.",
        "/reload",
        group="View",
    ),
    KeyAction(
        "suspend", ("ctrl+z",), "suspend", "Go back to the shell; `fg` returns.", "/suspend", bound=False, group="View"
    ),
    KeyAction(
        "quit",
        ("ctrl+q",),
        "quit",
        "Leave. Everything is kept; Ctrl+D on an empty prompt does it too.",
        "/quit",
        aliases=("/exit", "/q"),
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
    ("l", "on the seed: lock the last one, or free it"),
)


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """What plain letters do while the transcript has the focus."""

    keys: tuple[str, ...]
    """As Textual names them."""
    action: str
    """Of the chat's screen, told which key it was where it says `{key}`; empty: the transcript's own."""
    name: str
    """What is printed on them."""
    what: str
    """For the help screen."""


TRANSCRIPT_KEYS = (
    TranscriptKey(("up", "k"), "choose(-1)", "↑ k", "the message above"),
    TranscriptKey(("down", "j"), "choose(1)", "↓ j", "the message below"),
    TranscriptKey(("r",), "regenerate", "r", "answer again"),
    TranscriptKey(("e",), "edit_last", "e", "edit the message"),
    TranscriptKey(("b",), "branch", "b", "go on from here on a branch of its own"),
    TranscriptKey(("d", "delete"), "delete_from_here", "d Del", "end the path before it; Alt+Z goes back"),
    TranscriptKey(("c",), "copy_message", "c", "copy the message"),
    TranscriptKey(tuple("123456789"), "copy_code({key})", "1…9", "copy its first, second, … code block"),
    TranscriptKey(("space",), "", "Space", "fold or unfold what the model thought"),
    TranscriptKey(("slash",), "find", "/", "find words in this chat"),
    TranscriptKey(("left_square_bracket",), "sibling(-1)", "[", "the branch before this one"),
    TranscriptKey(("right_square_bracket",), "sibling(1)", "]", "the next branch"),
)
"""While it has the focus, the transcript is not typed into: letters act on the chosen message."""

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
