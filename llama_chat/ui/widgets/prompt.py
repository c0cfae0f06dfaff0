"""Where the user writes: grows with its text, sends with Enter, and keeps long pastes aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widgets import Input

from llama_chat.chat.keys import key_name
from llama_chat.chat.prompt.written import without_controls as without_controls
from llama_chat.errors import LlamaChatError
from llama_chat.ui.rebinding import ChatKeys
from llama_chat.ui.widgets.chip_area import ChipArea
from llama_chat.ui.widgets.chips import CHIP_FROM_CHARACTERS as CHIP_FROM_CHARACTERS
from llama_chat.ui.widgets.chips import Chip
from llama_chat.ui.widgets.fitting import first_fitting
from llama_chat.ui.widgets.prompt_files import PromptFiles

_SEND_KEYS = frozenset({"enter"})
_NEWLINE_KEYS = frozenset({"ctrl+j", "shift+enter", "alt+enter", "ctrl+enter"})


class Prompt(ChipArea):
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
        &.-over { border-subtitle-color: $text-warning; }
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
    ]

    edited: reactive[str] = reactive("", init=False)
    """What it says of itself while words are in it that were said already."""

    class Sent(Message):
        """The user wants this to be sent; the prompt is empty, and takes what is typed next.

        Attributes:
            text: what is sent, files and long pastes in their places.
            typed: what stood in the prompt.
            chips: the files and the long pastes in it.
        """

        def __init__(self, prompt: Prompt) -> None:
            super().__init__()
            self.prompt = prompt
            self.text, self.typed, self.chips = prompt.full_text, prompt.text, prompt.chips.copy()

        @property
        def control(self) -> Prompt:
            """The prompt."""
            return self.prompt

    class NotAttached(Message):
        """A file cannot be attached, or is too long to be sent: then it stands in the prompt, as the chip.

        Attributes:
            command: that wanted it, if one did.
        """

        def __init__(self, error: LlamaChatError, chip: Chip | None = None, *, command: str = "") -> None:
            super().__init__()
            self.error = error
            self.chip = chip
            self.command = command

    class PathTaken(Message):
        """Paths were pasted, and are files now."""

        def __init__(self, names: Sequence[str]) -> None:
            super().__init__()
            self.names = names

    def __init__(self, *, enter_sends: bool = True, id: str | None = None) -> None:  # noqa: A002  (Textual's name)
        super().__init__(id=id, placeholder=Content("Ask something…"), highlight_cursor_line=False)
        self.enter_sends = enter_sends
        self._send_keys, self._newline_keys = _SEND_KEYS, _NEWLINE_KEYS
        self._own_bindings = self._bindings.copy()
        self.files = PromptFiles(self)
        self._figures = ""
        self.key_takers: list[Callable[[str], bool]] = []
        """Each is asked whether it takes a key, before that does what it does here."""

    def watch_edited(self, words: str) -> None:
        """Mark the prompt while it holds words that were said already."""
        self.set_class(bool(words), "-edited")
        self._show_subtitle()

    def show_figures(self, figures: str, *, is_over: bool = False) -> None:
        """Say in the border how many tokens the words have; `is_over`: there is no room for them."""
        if (figures, is_over) != (self._figures, self.has_class("-over")):
            self._figures = figures
            self.set_class(is_over, "-over")
            self._show_subtitle()

    @property
    def send_sign(self) -> str:
        """What is printed on the key that sends."""
        keys = self._send_keys if self.enter_sends else self._newline_keys
        return "↵" if "enter" in keys else key_name(min(keys, default=""), short=True)

    def _show_subtitle(self) -> None:
        both = "   ".join(filter(None, (self.edited, self._figures)))
        what, *keys = self.edited.split(" · ")
        shorter = " · ".join([what.split(",")[0], *keys])
        ends = " · ".join([*keys[:1], *keys[-1:]])  # on a narrow screen what to press matters most
        wordings = (both, self.edited, shorter, ends or what, what) if self.edited else (both,)
        self.border_subtitle = Content(first_fitting(wordings, self.outer_size.width - 6)) if both else None

    def on_resize(self) -> None:
        """Say in the border what there is room for."""
        self._show_subtitle()

    def render_line(self, y: int) -> Strip:
        """One line. There may be no room for any while the window is made small: Textual would fail then."""
        return super().render_line(y) if self.content_size.width > 0 else Strip([])

    # --- the text -------------------------------------------------------------------------------------

    @property
    def full_text(self) -> str:
        """What is sent: the text with files and long pastes in their places, on lines of their own."""
        return self.chips.unfolded(self.text)

    def attach(self, path: Path) -> None:
        """Put a text file in, as a chip; where that cannot be, `NotAttached` says why."""
        self.files.attach(lambda: [path])

    def send(self) -> None:
        """Have what is written sent; the prompt is empty from now on."""
        self.post_message(self.Sent(self))
        self.clear_all()

    def take_back(self, text: str) -> None:
        """Put words that could not be sent before what was typed since."""
        typed = self.full_text
        self.clear_all()
        self._insert(text if not typed.strip() else f"{text}\n{typed}")
        if not isinstance(self.screen.focused, Input):  # else the user is typing there
            self.screen.set_focus(self)

    def refuse(self, command: str) -> None:
        """Put a command back that could not be done; what is typed next takes its place."""
        is_empty = not self.text
        self.take_back(command)
        if is_empty:
            self.select_all()

    def restore(self, sent: Sent) -> None:
        """Put what was refused before what was typed since."""
        if self.chips.clashes(sent.chips):
            self.take_back(sent.text)
            return
        typed = self.text
        self.chips.take(sent.chips)
        self.load_text(sent.typed if not typed.strip() else f"{sent.typed}\n{typed}")
        self.move_cursor(self.document.end)

    def clear_all(self) -> None:
        """Forget the text and the chips."""
        self.chips.clear()
        self.load_text("")

    def _insert(self, text: str) -> None:
        self.put_in(self.chips.folded(text))

    # --- keys -----------------------------------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        newline, sends = self._newline_keys, self._send_keys
        if not self.enter_sends:
            newline, sends = sends, newline
        if any(take(event.key) for take in self.key_takers):
            event.stop()
            event.prevent_default()
        elif event.key in sends:
            event.stop()
            event.prevent_default()
            self.send()
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
        is_changed = keys.changed.__contains__
        self._send_keys = frozenset(keys.keys_of("send")) if is_changed("send") else _SEND_KEYS
        self._newline_keys = frozenset(keys.keys_of("newline")) if is_changed("newline") else _NEWLINE_KEYS
        self._bindings = self._own_bindings.copy()
        if "undo" in keys.changed:
            self._move_keys("undo", ("ctrl+underscore", "ctrl+slash"), keys.keys_of("undo"))
        if "suspend" in keys.changed:
            self._move_keys("undo", (), ("ctrl+z",))  # as in any other TextArea
            self._move_keys("app.suspend_process", (), keys.keys_of("suspend"))
        vars(self).pop("_actions", None)  # made of the keys before
        self._show_subtitle()

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
        text = without_controls(event.text)
        start = min(*self.selection)
        self._insert(text)
        self.files.take_pasted(text, start)
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
