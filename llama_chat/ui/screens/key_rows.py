"""The keys among the settings: what each action has, and a card that another key is pressed in."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from llama_chat.chat.keys import KEY_ACTIONS, KeyAction, key_name
from llama_chat.key_wishes import KEYS_TABLE, KeyWish, save_keys
from llama_chat.sanitize import sanitize
from llama_chat.ui.rebinding import ChatKeys, rebound
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.filter_list import Item

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

PREFIX = f"{KEYS_TABLE}."
_NAME_CELLS = 20
_LEAVES = ("escape", "ctrl+q")


def key_items(chat: ChatViewScreen) -> list[Item]:
    """A line for every action that can have other keys."""
    keys = rebound(chat.settings.keys)
    return [_item(action, keys) for action in keys.actions]


def _item(action: KeyAction, keys: ChatKeys) -> Item:
    is_changed = action.name in keys.changed
    shown = ", ".join(map(key_name, action.keys)) or "–"
    content = Content.assemble(
        (action.name.ljust(_NAME_CELLS), "bold"),
        (shown, "$primary bold" if is_changed else "$foreground 60%"),
    )
    return Item(
        PREFIX + action.name,
        content,
        f"{action.name} {KEYS_TABLE} {action.label} {shown}",
        KEYS_TABLE.capitalize(),
        name=action.name,
        aside=Content.styled("yours" if is_changed else "default", "$foreground 50%"),
        details=action.help,
    )


def action_of(item_id: str) -> KeyAction:
    """The action of a line, with its default keys."""
    return next(each for each in KEY_ACTIONS if PREFIX + each.name == item_id)


def facts_of(action: KeyAction) -> str:
    """Its default keys, and from when on another one counts."""
    default = ", ".join(map(key_name, action.keys)) or "no key"
    command = f" · {action.command} does it, too" if action.command else ""
    return f"default {default} · counts from now on{command}"


def with_key(wishes: tuple[KeyWish, ...], name: str, key: str | None) -> tuple[KeyWish, ...]:
    """The wishes with this key for the action; without one for its defaults."""
    others = tuple(wish for wish in wishes if wish.action != name)
    return others if key is None else (*others, KeyWish(name, (key,), "settings"))


def why_not(wishes: tuple[KeyWish, ...], name: str, key: str) -> str:
    """Why the action cannot have the key; empty where it can."""
    keys = rebound(with_key(wishes, name, key))
    if name in keys.changed:
        return ""
    told = next((notice for notice in keys.notices if f"{PREFIX}{name}: " in notice), "")
    reason = told.partition(f"{PREFIX}{name}: ")[2].partition(". ")[0].rstrip(".")  # what stays goes unsaid
    return f"{reason or f'{key_name(key)} cannot be had'}."


def take_key(chat: ChatViewScreen, name: str, key: str | None) -> Future[None]:
    """Keep the key for the action, None for its defaults; the future tells how the saving went."""
    chat.take_keys(with_key(chat.settings.keys, name, key))
    path = chat.setup.paths.settings_file
    chat.key_save = chat.bridge.write(lambda: save_keys(path, name, key))
    return chat.key_save


class _Catcher(Widget, can_focus=True):
    """Takes every key."""

    DEFAULT_CSS = "_Catcher { height: 1; padding: 0 1; color: $accent; }"

    def render(self) -> Content:
        """Something to look at."""
        return Content("press a key…")

    def on_key(self, event: events.Key) -> None:
        """Hand it to the card, before any binding has it."""
        event.stop()
        event.prevent_default()
        if isinstance(self.screen, KeyScreen):
            self.screen.pressed(event.key)


class KeyScreen(Card[str]):
    """Press a key; the result is one that the action can have.

    Args:
        wishes: what all actions have.
        action: which one is to have another.
    """

    DEFAULT_CSS = """
    KeyScreen > .card { width: 92; height: 100%; max-height: 44; }
    KeyScreen .help { padding: 0 1; color: $foreground 70%; margin-bottom: 1; }
    KeyScreen .hint.-error { color: $text-warning; }
    """

    def __init__(self, wishes: tuple[KeyWish, ...], action: KeyAction) -> None:
        super().__init__()
        self._wishes = wishes
        self._action = action

    def compose(self) -> ComposeResult:
        """Title, what the action does, hint."""
        with Vertical(classes="card"):
            yield Static(Content(f"Another key for: {self._action.label}"), classes="title")
            yield Static(Content(self._action.help), classes="help")
            yield _Catcher()
            yield Static(Content("Esc back"), classes="hint")

    def on_mount(self) -> None:
        """Listen."""
        self.query_one(_Catcher).focus()

    def pressed(self, key: str) -> None:
        """Take the key, or say why not."""
        if key in _LEAVES:
            self.dismiss(None)
        elif reason := why_not(self._wishes, self._action.name, key):
            hint = self.query_one(".hint", Static)
            hint.add_class("-error")
            hint.update(Content(sanitize(f"{reason} Esc goes back.")))
        else:
            self.dismiss(key)
