"""What becomes of a setting that is changed in the chat: it is saved, and counts at once where it can."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from llama_chat.settings import SettingValue, setting_fields

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NOW, NEXT_TOKEN, NEXT_REPLY, NEXT_CHAT, NEXT_START = (
    "from now on",
    "from the next token on",
    "from the next reply on",
    "in new chats",
    "from the next start on",
)
_WHEN = {"system": NEXT_CHAT, "seed": NEXT_REPLY}


def default_of(name: str) -> SettingValue:
    """The value without any source."""
    default: Any = setting_fields()[name].field.default
    return cast("SettingValue", default)


def value_now(screen: ChatViewScreen, name: str) -> SettingValue:
    """The value in force."""
    table = setting_fields()[name].table
    if table == "sampling":
        chosen: SettingValue = getattr(screen.bridge.sampling.current, name)
        return chosen
    if name == "theme":
        return screen.app.theme
    found: SettingValue = getattr(getattr(screen.settings, table), name)
    return screen.values.get(name, found)


def when_it_counts(name: str) -> str:
    """From when on a change of this setting counts, in words."""
    table = setting_fields()[name].table
    if table == "chat":
        return _WHEN.get(name, NOW)
    return NEXT_TOKEN if table == "sampling" else NEXT_START


def change_setting(screen: ChatViewScreen, name: str, value: SettingValue) -> Future[None]:
    """Save the value, which must have been checked, and let it count where that can be at once.

    Returns:
        How the saving went, once that is known.
    """
    table = setting_fields()[name].table
    screen.values[name] = value
    saved = screen.bridge.save_setting(table, name, value)
    if table == "sampling":
        screen.bridge.sampling.change(**{name: value})
        screen.sampling_changed()
    elif name == "theme":
        screen.app.theme = str(value)
    elif table == "chat":
        chat = replace(screen.settings.chat, **{name: value})  # type: ignore[arg-type]  # checked by its field
        screen.settings = replace(screen.settings, chat=chat)
        screen.apply_settings()
    return saved
