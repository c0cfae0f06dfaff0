"""The keys as the user wants them: the table `[keys]` of the settings, laid over the defaults.

A wish is refused as a whole, and the default stays, where one of its keys cannot be had: the prompt edits
with it, a terminal cannot tell it from another one, a multiplexer takes it, or another action has it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llama_chat.chat.keys import KEY_ACTIONS, KeyAction, key_name
from llama_chat.key_wishes import KeyWish
from llama_chat.setting_values import shown_value

if TYPE_CHECKING:
    from textual.binding import Binding, BindingsMap

EDITING_KEYS = frozenset({
    "up", "down", "left", "right", "home", "end", "pageup", "pagedown",
    "tab", "backspace", "delete", "f6", "f7", "shift+up", "shift+down", "shift+left", "shift+right",
    "shift+home", "shift+end", "shift+tab", "shift+backspace", "shift+delete",
    "ctrl+left", "ctrl+right", "ctrl+shift+left", "ctrl+shift+right",
    "ctrl+backspace", "ctrl+delete", "ctrl+shift+k", "alt+backspace", "alt+delete",
    "ctrl+d", "ctrl+e", "ctrl+f", "ctrl+k", "ctrl+u", "ctrl+v", "ctrl+w", "ctrl+x", "ctrl+y",
    "super+a", "super+backspace", "super+c", "super+v", "super+x", "super+y", "super+z",
})  # fmt: skip
"""What the prompt edits with; a test holds it against the bindings of Textual's TextArea."""

_PREFIXES = {"ctrl+a": "the prefix of screen", "ctrl+b": "the prefix of tmux"}
_SAME = {
    "ctrl+h": "Backspace", "ctrl+i": "Tab", "ctrl+m": "Enter", "ctrl+left_square_bracket": "Esc",
    "ctrl+slash": "Ctrl+_", "ctrl+minus": "Ctrl+_",
}  # fmt: skip
"""A terminal sends the same byte for both."""

_SENDING = frozenset({"send", "newline"})
_ONLY_FOR: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("enter", "ctrl+j", "ctrl+enter", "shift+enter", "alt+enter"), _SENDING),
    "escape": frozenset({"stop"}),
    "ctrl+c": frozenset({"interrupt"}),
    "ctrl+z": frozenset({"suspend", "undo"}),
}
_NEEDED = {"send": "without it nothing could be sent", "interrupt": "Ctrl+C must always be a way out"}

_MODIFIERS = {
    "ctrl": "ctrl", "control": "ctrl", "c": "ctrl", "alt": "alt", "option": "alt", "meta": "alt",
    "shift": "shift", "super": "super", "cmd": "super",
}  # fmt: skip
_ORDER = ("alt", "ctrl", "shift", "super")
"""As Textual sorts them."""
_NAMES = {
    "esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown", "pgdown": "pagedown",
    "page_up": "pageup", "page_down": "pagedown", "ins": "insert", "del": "delete", "bksp": "backspace",
    "/": "slash", "\\": "backslash", "_": "underscore", "]": "right_square_bracket",
    "[": "left_square_bracket", "^": "circumflex_accent", "@": "at", ",": "comma", ".": "full_stop",
    ";": "semicolon", "'": "apostrophe", "-": "minus", "=": "equals_sign", "`": "grave_accent",
    "?": "question_mark",
}  # fmt: skip
_KNOWN = frozenset(_NAMES.values()) | {"tab", "home", "end", "up", "down", "left", "right", "space"}
_FUNCTION_KEY = re.compile(r"f([1-9]|1\d|2[0-4])")


@dataclass(frozen=True, slots=True)
class ChatKeys:
    """The keys in force."""

    actions: tuple[KeyAction, ...] = KEY_ACTIONS
    notices: tuple[str, ...] = ()
    """A line for every wish that was refused."""
    changed: frozenset[str] = frozenset()
    """Names of the actions that have other keys than their defaults."""

    def keys_of(self, action: str) -> tuple[str, ...]:
        """The keys of the action."""
        return next((key.keys for key in self.actions if key.action == action), ())

    def name_of(self, action: str) -> str:
        """What to press for the action, or the command to type where no key is left: `Ctrl+R`."""
        found = next(key for key in self.actions if key.action == action)
        return key_name(found.keys[0]) if found.keys else found.command

    def in_words(self, text: str) -> str:
        """What the program says of its default keys, said of those that are in force."""
        if not self.changed:
            return text
        new = {
            key_name(action.keys[0]): self.name_of(action.action) or "no key"
            for action in KEY_ACTIONS
            if action.name in self.changed and action.keys
        }
        pattern = "|".join(re.escape(name) for name in sorted(new, key=len, reverse=True))
        return (
            re.sub(rf"(?<![\w+])(?:{pattern})(?![\w+])", lambda found: new[found[0]], text) if new else text
        )


def rebound(wishes: Iterable[KeyWish]) -> ChatKeys:
    """The keys with the wishes laid over the defaults; the last one counts where an action has several."""
    names = {action.name: action for action in KEY_ACTIONS}
    notices: list[str] = []
    wanted: dict[str, tuple[str, ...]] = {}
    where: dict[str, str] = {}
    for wish in wishes:
        if wish.action not in names:
            notices.append(f"{wish.where}: {_unknown_action(wish.action, names)}")
            continue
        try:
            wanted[wish.action] = _checked(wish)
        except ValueError as error:
            notices.append(f"{wish.where}: keys.{wish.action}: {error}. {_stays(names[wish.action])}")
        else:
            where[wish.action] = wish.where
    notices += _without_conflicts(wanted, names, where)
    actions = tuple(replace(a, keys=wanted[a.name]) if a.name in wanted else a for a in KEY_ACTIONS)
    return ChatKeys(actions, tuple(notices), frozenset(wanted))


def screen_bindings(actions: Iterable[KeyAction] = KEY_ACTIONS) -> list[Binding]:
    """The bindings of the chat screen."""
    from textual.binding import Binding  # here: `config` names keys without a screen

    return [
        Binding(name, action, key.help, id=key.action, show=False)
        for key in actions
        if key.bound
        for name, action in key.ways
    ]


def laid_over(own: BindingsMap, keys: ChatKeys) -> BindingsMap:
    """The bindings of a screen or an app, with the changed actions on their keys."""
    bindings = own.copy()
    lay_over(bindings, keys)
    return bindings


def lay_over(bindings: BindingsMap, keys: ChatKeys) -> None:
    """Give the changed actions their keys in the bindings of a screen or an app, in place."""
    from textual.binding import Binding

    changed = {action.action: action for action in keys.actions if action.name in keys.changed}
    priority = set()
    for key, found in list(bindings.key_to_bindings.items()):
        priority |= {each.action for each in found if each.priority}
        kept = [each for each in found if (each.id or each.action) not in changed]
        if kept:
            bindings.key_to_bindings[key] = kept
        else:
            del bindings.key_to_bindings[key]
    for name, action in changed.items():
        for key, way in action.ways:
            added = Binding(key, way, action.help, id=name, show=False, priority=name in priority)
            bindings.key_to_bindings.setdefault(key, []).insert(0, added)


def parsed_key(text: str) -> str:
    """The key as Textual names it: `Ctrl+G`, `^G` and `control + g` are `ctrl+g`.

    Raises:
        ValueError: there is no such key.
    """
    word = text.strip().lower()
    if len(word) == 2 and word[0] == "^":
        word = f"ctrl+{word[1]}"
    parts = [part.strip() for part in word.split("+")] if len(word) > 1 else [word]
    *modifiers, last = parts
    last = _NAMES.get(last, last)
    is_known = last in _KNOWN or _FUNCTION_KEY.fullmatch(last) or (len(last) == 1 and last.isalnum())
    if not is_known or not last.isascii() or not all(modifier in _MODIFIERS for modifier in modifiers):
        raise ValueError(f"there is no key {shown_value(text)}")
    held = {_MODIFIERS[modifier] for modifier in modifiers}
    return "+".join([*(modifier for modifier in _ORDER if modifier in held), last])


def _checked(wish: KeyWish) -> tuple[str, ...]:
    """The keys of the wish; raises `ValueError` with the reason why they cannot be had."""
    keys = tuple(dict.fromkeys(map(parsed_key, wish.keys)))
    for key in keys:
        if reason := _reason_against(key, wish.action):
            raise ValueError(f"{key_name(key)} {reason}")
    if wish.action == "interrupt" and "ctrl+c" not in keys:
        raise ValueError(_NEEDED["interrupt"])
    if wish.action in _NEEDED and not keys:
        raise ValueError(_NEEDED[wish.action])
    return keys


def _reason_against(key: str, action: str) -> str:
    """Why no action, or not this one, can have the key; empty where it can."""
    if key in _PREFIXES:
        return f"is {_PREFIXES[key]}"
    if key in _SAME:
        return f"is the same as {_SAME[key]} for a terminal"
    if key in _ONLY_FOR:
        return "" if action in _ONLY_FOR[key] else f"is only for {_labels(_ONLY_FOR[key])}"
    if key in EDITING_KEYS:
        return "is what the prompt is edited with"
    *modifiers, last = key.split("+")
    if not set(modifiers) - {"shift"} and not _FUNCTION_KEY.fullmatch(last) and last != "insert":
        return "is typed into the prompt"
    return ""


def _labels(names: Iterable[str]) -> str:
    """The actions as the palette and the help call them."""
    labels = {action.name: action.label for action in KEY_ACTIONS}
    return " and ".join(f"'{label}'" for label in sorted(labels[name] for name in names))


def _without_conflicts(
    wanted: dict[str, tuple[str, ...]], names: Mapping[str, KeyAction], where: Mapping[str, str]
) -> list[str]:
    """Take wishes out of `wanted` until no key is given twice; a notice for each.

    A wish that goes takes its default back, which another one may have been given meanwhile: so again.
    """
    notices = []
    while clash := _first_clash(wanted, names):
        key, (one, other) = clash
        for name, rival in ((one, other), (other, one)):
            if name in wanted:
                del wanted[name]
                what = f"keys.{name}: {key_name(key)} is given to '{names[rival].label}', too"
                notices.append(f"{where[name]}: {what}. {_stays(names[name])}")
    return notices


def _first_clash(
    wanted: Mapping[str, tuple[str, ...]], names: Mapping[str, KeyAction]
) -> tuple[str, tuple[str, str]] | None:
    holders: dict[str, str] = {}
    for name, action in names.items():
        for key in wanted.get(name, action.keys):
            holder = holders.setdefault(key, name)
            if holder != name:
                return key, (holder, name)
    return None


def _stays(action: KeyAction) -> str:
    if not action.keys:
        return "It stays without a key."
    return f"{', '.join(map(key_name, action.keys))} stays."


def _unknown_action(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f" ('{near[0]}' is one)" if near else ""
    return f"there is no action {shown_value(name)}{hint} to give keys to. It is passed over."
