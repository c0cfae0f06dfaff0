"""A small card to type the value of one setting into, checked as the file's values are."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.sanitize import one_line, sanitize
from llama_chat.setting_origins import range_words
from llama_chat.setting_values import parsed_value, shown_value
from llama_chat.settings import SettingValue, setting_fields
from llama_chat.ui.screens.modal import Card

VALUE_LETTERS = 36


def shown_in_list(name: str, value: SettingValue) -> str:
    """The value in a few letters: `0.7`, `all`, `on`, `–` for an empty text."""
    zero = setting_fields()[name].field.metadata.get("zero")
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        shown = one_line(value)
        return (shown if len(shown) <= VALUE_LETTERS else f"{shown[: VALUE_LETTERS - 1]}…") or "–"
    return str(zero) if zero and value == 0 else f"{value:,}"


def typed_value(name: str, text: str) -> SettingValue:
    """The value that was typed.

    Raises:
        ValueError: it does not fit; the end of a sentence that begins with the text.
    """
    field = setting_fields()[name].field
    if text.strip().casefold() == field.metadata.get("zero", ""):
        text = "0" if field.metadata.get("zero") else text
    value: SettingValue = parsed_value(field, text)
    return value


class ValueScreen(Card[SettingValue]):
    """Type a value; the result is one that fits.

    Args:
        setting: its name.
        value: what it is now.
    """

    DEFAULT_CSS = """
    ValueScreen > .card { width: 92; height: 100%; max-height: 44; }
    ValueScreen .help { padding: 0 1; color: $foreground 70%; margin-bottom: 1; }
    ValueScreen .hint.-error { color: $text-error; }
    ValueScreen Input {
        border: none;
        height: 1;
        margin: 0 1;
        padding: 0;
        background: $panel;
        &:focus { border: none; background-tint: $foreground 0%; }
    }
    """

    def __init__(self, setting: str, value: SettingValue) -> None:
        super().__init__()
        self._setting = setting
        self._value = value

    def compose(self) -> ComposeResult:
        """Title, help, value, hint."""
        known = setting_fields()[self._setting]
        with Vertical(classes="card"):
            yield Static(Content(self._setting), classes="title")
            yield Static(Content(f"{known.field.metadata['help']} ({range_words(known)})"), classes="help")
            yield Input(sanitize(str(self._value)), compact=True)
            yield Static(Content("Enter keeps it · Esc back"), classes="hint")

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            value = typed_value(self._setting, event.value)
        except ValueError as error:
            hint = self.query_one(".hint", Static)
            hint.add_class("-error")
            hint.update(Content(sanitize(f"{shown_value(event.value)} {error}.")))
            return
        self.dismiss(value)
