"""Where the user writes: grows with its text, sends with Enter, and keeps long pastes aside."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import TextArea

from llama_chat.ui.rebinding import ChatKeys

CHIP_FROM_CHARACTERS = 5_000
"""One line of 10,000 characters costs a TextArea 28 ms a key (measured 2026-11), so it never gets one."""

_CHIP = re.compile(r"\[pasted [\d,]+ characters(?: #\d+)?\]")


def without_controls(text: str) -> str:
    """The text with LF for every line end, and no control character but LF and tab."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


class Prompt(TextArea):
    """The line at the bottom that the user types into.

    Args:
        enter_sends: whether Enter sends and Ctrl+J makes a new line, or the other way round.
    """

    DEFAULT_CSS = """
    Prompt {
        height: auto;
        min-height: 3;
        max-height: 34vh;
        max-width: 104;
        padding: 0 1;
        background: $background;
        border: round $foreground 20%;
        scrollbar-size-vertical: 1;
        &:focus { border: round $primary 70%; }
        &.-edited, &.-edited:focus { border: round $warning 70%; background: $warning 8%; }
        & .text-area--cursor-line { background: transparent; }
        & .text-area--placeholder { color: $foreground 50%; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,super+c", "copy_or_interrupt", "Copy or stop", show=False),
        Binding("ctrl+d", "delete_right_or_quit", "Delete right, or quit", show=False),
        Binding("ctrl+z", "app.suspend_process", "Suspend", show=False),
        Binding("ctrl+underscore,ctrl+slash", "undo", "Undo", show=False),
        Binding("backspace", "delete_chip_left", "Delete left", show=False),
    ]

    edited: reactive[str] = reactive("", init=False)
    """What it says of itself while words are in it that were said already."""

    class Sent(Message):
        """The user wants this to be sent; the prompt is empty, and takes what is typed next.

        Attributes:
            text: what is sent, the long pastes in their places.
            typed: what stood in the prompt.
            pasted: the long pastes, by their marks.
        """

        def __init__(self, prompt: Prompt) -> None:
            super().__init__()
            self.prompt = prompt
            self.text, self.typed, self.pasted = prompt.full_text, prompt.text, dict(prompt._pasted)

        @property
        def control(self) -> Prompt:
            """The prompt."""
            return self.prompt

    def __init__(self, *, enter_sends: bool = True, id: str | None = None) -> None:  # noqa: A002  (Textual's name)
        super().__init__(id=id, placeholder=Content("Ask something…"), highlight_cursor_line=False)
        self.enter_sends = enter_sends
        self._send_keys = frozenset({"enter"})
        self._newline_keys = frozenset({"ctrl+j", "shift+enter", "alt+enter", "ctrl+enter"})
        self._pasted: dict[str, str] = {}

    def watch_edited(self, words: str) -> None:
        """Mark the prompt while it holds words that were said already."""
        self.border_subtitle = words or None
        self.set_class(bool(words), "-edited")

    # --- the text -------------------------------------------------------------------------------------

    @property
    def full_text(self) -> str:
        """What is sent: the text with the long pastes in their places, on lines of their own beside words."""
        return _CHIP.sub(self._unfold, self.text)

    def _unfold(self, chip: re.Match[str]) -> str:
        pasted = self._pasted.get(chip[0])
        if pasted is None:
            return chip[0]
        before, after = chip.string[: chip.start()][-1:], chip.string[chip.end() :]
        left = "\n" if before and not (before.isspace() or pasted[0].isspace()) else ""
        right = (
            "\n" if after and not (after[0].isspace() or pasted[-1].isspace() or _CHIP.match(after)) else ""
        )
        return left + pasted + right

    def take_back(self, text: str) -> None:
        """Put words that could not be sent before what was typed since."""
        typed = self.full_text
        self.clear_all()
        self._insert(text if not typed.strip() else f"{text}\n{typed}")
        self.focus()

    def restore(self, sent: Sent) -> None:
        """Put what was refused before what was typed since."""
        typed = self.text
        self._pasted |= sent.pasted
        self.load_text(sent.typed if not typed.strip() else f"{sent.typed}\n{typed}")
        self.move_cursor(self.document.end)

    def clear_all(self) -> None:
        """Forget the text and the pastes."""
        self._pasted.clear()
        self.load_text("")

    def _insert(self, text: str) -> None:
        if len(text) > CHIP_FROM_CHARACTERS:
            text = self._chip(text)
        if result := self._replace_via_keyboard(text, *self.selection):
            self.move_cursor(result.end_location)

    def _chip(self, text: str) -> str:
        base = f"[pasted {len(text):,} characters"
        chip, n = f"{base}]", 1
        while chip in self._pasted:
            n += 1
            chip = f"{base} #{n}]"
        self._pasted[chip] = text
        return chip

    def get_line(self, line_index: int) -> Text:
        """The line, with the pastes that are kept aside marked."""
        line = super().get_line(line_index)
        for chip in _CHIP.finditer(line.plain):
            if chip[0] in self._pasted:
                line.stylize("reverse", *chip.span())
        return line

    # --- keys -----------------------------------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        newline, sends = self._newline_keys, self._send_keys
        if not self.enter_sends:
            newline, sends = sends, newline
        if event.key in sends:
            event.stop()
            event.prevent_default()
            self.post_message(self.Sent(self))
            self.clear_all()
        elif event.key in newline:
            event.stop()
            event.prevent_default()
            self._insert("\n")
        elif action := next((self._actions[key] for key in event.aliases if key in self._actions), ""):
            event.stop()
            event.prevent_default()
            await self.run_action(action)
        else:
            await super()._on_key(event)

    def take_keys(self, keys: ChatKeys) -> None:
        """Send, begin a line, undo and suspend with the keys that the user gave to that."""
        if "send" in keys.changed:
            self._send_keys = frozenset(keys.keys_of("send"))
        if "newline" in keys.changed:
            self._newline_keys = frozenset(keys.keys_of("newline"))
        if "undo" in keys.changed:
            self._move_keys("undo", ("ctrl+underscore", "ctrl+slash"), keys.keys_of("undo"))
        if "suspend" in keys.changed:
            self._move_keys("undo", (), ("ctrl+z",))  # as in any other TextArea
            self._move_keys("app.suspend_process", (), keys.keys_of("suspend"))

    def _move_keys(self, action: str, old: Sequence[str], new: Sequence[str]) -> None:
        own = self._bindings.key_to_bindings
        for key in old:
            del own[key]
        for key in new:
            own[key] = [Binding(key, action, show=False)]

    @cached_property
    def _actions(self) -> Mapping[str, str]:
        """What the keys of the prompt do, its own bindings and those of a TextArea.

        Done here, in the order of the keys. Textual would look a binding up when the key has bubbled up to
        the app, and characters that came after it in one burst would be there before it: "abd⌫c" was "ab".
        """
        return {key: found[-1].action for key, found in self._bindings.key_to_bindings.items()}

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self._insert(without_controls(event.text))
        self.focus()

    async def action_copy_or_interrupt(self) -> None:
        """Copy the selection; without one, do what Ctrl+C does elsewhere."""
        if self.selected_text:
            self.action_copy()
        else:
            await self.run_action("screen.interrupt")

    async def action_delete_right_or_quit(self) -> None:
        """Delete to the right, as in a shell; on an empty prompt, quit."""
        if self.text:
            self.action_delete_right()
        else:
            await self.run_action("app.quit")

    def action_delete_chip_left(self) -> None:
        """Delete a character, or the whole mark of a paste."""
        row, column = self.cursor_location
        before = str(self.document[row])[:column]
        chips = [chip for chip in _CHIP.finditer(before) if chip.end() == column and chip[0] in self._pasted]
        if chips and not self.selected_text:
            self._replace_via_keyboard("", (row, chips[-1].start()), (row, column))
        else:
            self.action_delete_left()
