"""The presets as a card: the marked one counts at once, Esc puts back what was."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content

from llama_chat.chat.picks.preset_shelf import taken_sentence
from llama_chat.errors import UsageError
from llama_chat.events import Sampling
from llama_chat.presets import NAME_LETTERS, OWN, Preset, checked_name, find_preset, matching_preset
from llama_chat.sampling import setting_label
from llama_chat.ui.scale import Scale
from llama_chat.ui.screens.name import NameScreen
from llama_chat.ui.screens.preview import PreviewCard, Row
from llama_chat.ui.widgets.sampling_panel import SETTINGS

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

_HINTS = (
    "↑ ↓ try it out · Enter takes it · s saves the values as yours · d deletes · Esc puts back",
    "↑ ↓ try · Enter · s saves as yours · d deletes · Esc puts back",
    "Enter · s save · d delete · Esc back",
    "Enter · s save · d delete · Esc",
)
_VALUE_CELLS = 5
_AS_IT_IS = ""
"""The row of values that no preset has."""


class PresetScreen(PreviewCard):
    """Choose a preset; the values of the marked one count from the next token on.

    Args:
        chat: the chat's screen.
    """

    DEFAULT_CSS = """
    PresetScreen { background: $background 20%; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "save", "Save the values", show=False),
        Binding("d,delete", "delete", "Delete it", show=False),
    ]

    def __init__(self, chat: ChatViewScreen) -> None:
        super().__init__("Presets", _HINTS)
        self._chat = chat
        self._shelf = chat.presets
        self._before = chat.bridge.sampling.current
        self._is_taken = False
        for key in chat.keys.keys_of("presets"):
            self._bindings.bind(key, "leave", "Back", show=False)

    def on_mount(self) -> None:
        """Begin at what counts now."""
        self._list(self._shelf.current)

    def on_unmount(self) -> None:
        """Put back what was only tried out."""
        if not self._is_taken:
            self._try(self._before)

    def _list(self, marked: Preset | None) -> None:
        current = matching_preset(self._shelf.presets, self._before)
        rows = [] if current else [Row(_AS_IT_IS, OWN, "as it is now", is_current=True)]
        for preset in self._shelf.presets:
            whose = "yours" if preset.is_own else ""
            rows.append(Row(preset.name, preset.name, whose, is_current=preset == current))
        self.show_rows(rows, marked.name if marked else _AS_IT_IS)

    def _preset(self, row_id: str) -> Preset | None:
        return next((each for each in self._shelf.presets if each.name == row_id), None)

    def _try(self, sampling: Sampling) -> None:
        self._chat.bridge.sampling.current = sampling
        self._chat.sampling_changed()

    # --- the marked one -----------------------------------------------------------------------------------

    def look_at(self, row_id: str) -> Content:
        """What it is good for, and its values, old and new; they count at once."""
        preset = self._preset(row_id)
        now = preset.applied_to(self._before) if preset else self._before
        self._try(now)
        names = [each.name for each in fields(Sampling)]
        names.sort(key=lambda name: getattr(self._before, name) == getattr(now, name))  # what changes first
        lines = [_change_line(name, self._before, now) for name in names]
        reason = preset.reason if preset else "Your values, which no preset has; s gives them a name."
        return Content("\n").join([Content.styled(reason, "$foreground 60%"), Content(""), *lines])

    def take(self, row_id: str) -> None:
        """Keep its values."""
        if preset := self._preset(row_id):
            self._is_taken = True
            self._shelf.take(preset, self._before)
            self._chat.sampling_changed()
            self._chat.hint(taken_sentence(preset, self._before))
        self.dismiss(None)

    @work
    async def action_save(self) -> None:
        """Save the values that count now as a preset of the user's own."""
        preset = self._preset(self.marked)
        name = await self.app.push_screen_wait(
            NameScreen(
                "Name of the preset",
                preset.name if preset and preset.is_own else "",
                most_letters=NAME_LETTERS,
                question=self._question,
            )
        )
        if name is None:
            return
        told = self._shelf.save(name)
        self._list(find_preset(self._shelf.presets, checked_name(name)))
        self.say(told)

    def _question(self, name: str) -> str:
        wanted = checked_name(name).casefold()
        is_there = any(each.name.casefold() == wanted for each in self._shelf.presets)
        return f"There is one called {wanted}. Enter again gives it these values." if is_there else ""

    def action_delete(self) -> None:
        """Delete it, if it is the user's and he says so twice."""
        preset = self._preset(self.marked)
        if preset is None or not preset.is_own:
            ours, nothing = "That one comes with the program; it stays.", "There is nothing to delete."
            self.say(ours if preset else nothing)
        elif self.is_sure(preset.name, f"d again deletes {preset.name}."):
            try:
                told = self._shelf.delete(preset.name)
            except UsageError as error:
                self.say(str(error))
                return
            self._try(self._before)
            self._list(self._shelf.current)
            self.say(told)


def _change_line(name: str, old: Sampling, new: Sampling) -> Content:
    """`temperature      0.7 → 0.2`; what stays is quiet."""
    known = SETTINGS[name]
    scale = Scale.of_setting(known.default, known.metadata)
    before, after = (scale.format(getattr(sampling, name)) for sampling in (old, new))
    label = setting_label(name).ljust(19)
    if before == after:
        return Content.styled(f"{label}{before.rjust(_VALUE_CELLS)}", "$foreground 60%")
    return Content.assemble(
        label,
        (before.rjust(_VALUE_CELLS), "$foreground 60%"),
        (" → ", "$foreground 60%"),
        (after.rjust(_VALUE_CELLS), "$accent bold"),
    )
