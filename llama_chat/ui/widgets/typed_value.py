"""A row whose value can be typed."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.reactive import reactive
from textual.widget import Widget


class TypedValue(Widget, can_focus=True):
    """Collects what is typed into it; Enter takes it, and leaving takes it too, Esc drops it."""

    CHARACTERS: ClassVar[str] = "0123456789"
    """What a value is made of."""
    MOST_CHARACTERS: ClassVar[int] = 10

    typed: reactive[str] = reactive("")
    """What was typed so far, before Enter takes it."""

    def take(self, typed: str) -> None:
        """Have this value, or say why it cannot be had."""
        raise NotImplementedError

    def collect(self, character: str) -> bool:
        """Put the character behind those that were typed; whether a value may have it."""
        if not character or character not in self.CHARACTERS:
            return False
        self.typed = (self.typed + character)[: self.MOST_CHARACTERS]
        return True

    def take_key(self, event: events.Key) -> bool:
        """Collect a typed value, or end it; whether the key was one for that."""
        if self.collect(event.character or ""):
            return True
        if not self.typed:
            return False
        if event.key == "enter":
            self.take_typed()
        elif event.key == "escape":
            self.typed = ""
        elif event.key == "backspace":
            self.typed = self.typed[:-1]
        else:
            return False
        return True

    def on_key(self, event: events.Key) -> None:
        """Collect a typed value."""
        if self.take_key(event):
            event.stop()
            event.prevent_default()

    def on_blur(self) -> None:
        """Take what was typed, as Enter does."""
        self.take_typed()

    def take_typed(self) -> None:
        """Have the value that was typed, if any was."""
        typed, self.typed = self.typed, ""
        if typed:
            self.take(typed)
