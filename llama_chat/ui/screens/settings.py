"""All settings in one list, made from their own data: what each is, and another value for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llama_chat.errors import LlamaChatError
from llama_chat.setting_origins import Origin, range_words, setting_origins
from llama_chat.settings import SettingValue, read_layers, setting_fields
from llama_chat.ui.screens import key_rows, openers
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.screens.setting_changes import change_setting, default_of, value_now, when_it_counts
from llama_chat.ui.screens.setting_value import ValueScreen, shown_in_list
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.fitting import FittingLine

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

NAME_CELLS = 20
FROM_COMMAND_LINE, FROM_CHAT = "the command line", "changed here"
_HINTS = (
    "Enter changes it · Del back to the default · type to search · Esc back",
    "Enter · Del default · Esc",
)


class SettingsScreen(Card[None]):
    """The settings in force, and where they come from; changes are saved and count as soon as they can.

    Args:
        chat: the chat's screen.
    """

    DEFAULT_CSS = """
    SettingsScreen > .card { width: 92; height: 100%; max-height: 44; }
    SettingsScreen .about { height: 3; padding: 0 1; color: $foreground 70%; margin-top: 1; }
    SettingsScreen .hint { margin-top: 0; }
    SettingsScreen.-low .about { margin-top: 0; height: 2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("delete", "reset", show=False, priority=True)]

    def __init__(self, chat: ChatViewScreen) -> None:
        super().__init__()
        self._chat = chat
        self._said = ("", "")  # of which setting, and what
        self._origins: Mapping[str, Origin] = {}
        for key in chat.keys.keys_of("settings"):
            self._bindings.bind(key, "leave", "Back", show=False)

    def compose(self) -> ComposeResult:
        """Title, list, what the marked setting is, hint."""
        with Vertical(classes="card"):
            yield Static(Content("Settings"), classes="title")
            yield FilterList("type to search…")
            yield Static("", classes="about")
            yield FittingLine(*_HINTS, classes="hint")

    def on_mount(self) -> None:
        """Read where the values come from, and list them."""
        path = self._chat.setup.paths.settings_file
        layers = read_layers(path, os.environ, {})
        self._origins = {origin.name: origin for origin in setting_origins(path, layers)}
        self._list()

    def on_screen_resume(self) -> None:
        """Show what was chosen on the card above this one."""
        if self._origins:
            self._list()

    def _list(self) -> None:
        filter_list = self.query_one(FilterList)
        marked = filter_list.highlighted_id
        items = [self._item(name) for name in setting_fields()]
        filter_list.show_items([*items, *key_rows.key_items(self._chat)], marked=marked)
        if marked:
            self._tell_about(marked)

    def _item(self, name: str) -> Item:
        known = setting_fields()[name]
        value = value_now(self._chat, name)
        is_default = value == known.field.default
        content = Content.assemble(
            (name.ljust(NAME_CELLS), "bold"),
            (shown_in_list(name, value), "$foreground 60%" if is_default else "$primary bold"),
        )
        help_text = str(known.field.metadata["help"])
        aside = Content.styled(self._where(name), "$foreground 50%")
        return Item(
            name,
            content,
            f"{name} {known.table} {name.replace('_', ' ')}",
            known.table.capitalize(),
            name=name,
            aside=aside,
            details=help_text,
        )

    def _where(self, name: str) -> str:
        """Where the value comes from, as far as that can be told."""
        origin = self._origins[name]
        at_start = getattr(getattr(self._chat.setup.settings, origin.table), name)
        if name in self._chat.values or value_now(self._chat, name) != at_start:
            return FROM_CHAT
        return origin.where if origin.value == at_start else FROM_COMMAND_LINE

    # --- the marked one ---------------------------------------------------------------------------------

    @on(FilterList.Highlighted)
    def _show_about(self, event: FilterList.Highlighted) -> None:
        if event.item_id != self._said[0]:
            self._said = ("", "")
        self._tell_about(event.item_id)

    def _tell_about(self, name: str) -> None:
        if name.startswith(key_rows.PREFIX):
            action = key_rows.action_of(name)
            self._say_about(self._said[1] or action.help, key_rows.facts_of(action))
            return
        known = setting_fields()[name]
        default = shown_in_list(name, default_of(name))
        facts = f"default {default} · counts {when_it_counts(name)}"
        if "pattern_help" not in known.field.metadata:  # else the help says it
            facts = f"{range_words(known)} · {facts}"
        words = self._said[1] or str(known.field.metadata["help"])
        self._say_about(words, facts)

    def _say_about(self, words: str, facts: str) -> None:
        about = Content.assemble(words, "\n", (facts, "$foreground 50%"))
        self.query_one(".about", Static).update(about)

    @on(FilterList.Chosen)
    def _change(self, event: FilterList.Chosen) -> None:
        name = event.item_id
        if name.startswith(key_rows.PREFIX):
            self._press_key(name)
            return
        value = value_now(self._chat, name)
        if isinstance(value, bool):
            self._take(name, not value)
        elif name == "theme":
            openers.choose_theme(self._chat)
        elif name == "system":
            self._edit_system(str(value))
        elif "choices" in setting_fields()[name].field.metadata:
            self._choose(name, str(value))
        else:
            self.app.push_screen(ValueScreen(name, value), lambda chosen: self._take(name, chosen))

    def _press_key(self, item_id: str) -> None:
        action = key_rows.action_of(item_id)

        def take(key: str | None) -> None:
            if key is not None:
                self._take_key(item_id, key)

        self.app.push_screen(key_rows.KeyScreen(self._chat.settings.keys, action), take)

    def _take_key(self, item_id: str, key: str | None) -> None:
        saved = key_rows.take_key(self._chat, key_rows.action_of(item_id).name, key)
        self._tell_how_it_went(item_id, "It counts from now on.", saved)

    def _choose(self, name: str, value: str) -> None:
        from llama_chat.ui.screens.pick import PickScreen

        choices = setting_fields()[name].field.metadata["choices"]
        items = [Item(choice, Content(choice), choice) for choice in choices]
        self.app.push_screen(PickScreen(name, items, marked=value), lambda chosen: self._take(name, chosen))

    def _edit_system(self, text: str) -> None:
        from llama_chat.ui.screens.system_prompt import SystemPromptScreen

        self.app.push_screen(
            SystemPromptScreen(text, title="System prompt of new chats"),
            lambda chosen: self._take("system", chosen),
        )

    def action_reset(self) -> None:
        """Give the marked setting its default."""
        name = self.query_one(FilterList).highlighted_id
        if name and name.startswith(key_rows.PREFIX):
            self._take_key(name, None)
        elif name:
            self._take(name, default_of(name))

    def _take(self, name: str, value: SettingValue | None) -> None:
        if value is None or value == value_now(self._chat, name):
            return
        saved = change_setting(self._chat, name, value)
        words = f"It counts {when_it_counts(name)}."
        origin = self._origins[name]
        if origin.source == "environment":
            words += f" At the next start, {origin.where} counts more."
        self._tell_how_it_went(name, words, saved)

    def _tell_how_it_went(self, item_id: str, words: str, saved: Future[None]) -> None:
        """That it is being saved; and, as soon as the disk has answered, that it is, or why not."""
        self._said = item_id, f"Saving… {words}"
        self._list()

        def tell(done: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self.call_later(self._take_in, item_id, words, done.exception())

        saved.add_done_callback(tell)

    def _take_in(self, item_id: str, words: str, error: BaseException | None) -> None:
        if not self.is_attached or self._said[0] != item_id:
            return
        why = error.message if isinstance(error, LlamaChatError) else str(error)
        self._said = item_id, f"Not saved: {why} {words}" if error is not None else f"Saved. {words}"
        self._list()
