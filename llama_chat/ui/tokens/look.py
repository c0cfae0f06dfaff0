"""Looking at the tokens of a message: the cursor, the shades, the sliders; a chat is not touched."""

from __future__ import annotations

from textual import on

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.view import NoticeKind
from llama_chat.distribution.shades import LEGENDS, Shade
from llama_chat.events import LiveSampling
from llama_chat.ui.tokens.frame import TokenFrame
from llama_chat.ui.tokens.panel import TokenPanel
from llama_chat.ui.tokens.token_view import TokenView
from llama_chat.ui.widgets.slider import Slider

SHADES: tuple[Shade, ...] = tuple(LEGENDS)
NO_ROOM_FOR_SLIDERS = "The screen is too low for the sliders: /set moves them, and x shows what they do."


class TokenLook(TokenFrame):
    """Shows a sheet.

    Args:
        sheet: what there is to see.
        sampling: what the sliders move.
    """

    def __init__(self, sheet: TokenSheet, sampling: LiveSampling) -> None:
        super().__init__(TokenPanel(lambda: sampling.current, self._change_setting))
        self.sheet = sheet
        self._sampling = sampling
        self.moved: dict[str, float] = {}
        """The settings that were changed here."""

    def on_mount(self) -> None:
        """Show what there is."""
        super().on_mount()
        self.show_sheet(self.sheet)

    def show_sheet(self, sheet: TokenSheet, *, is_longer: bool = False) -> None:
        """Show this one; it may begin with what is shown already."""
        self.sheet = sheet
        self.view.show(sheet, is_longer=is_longer)
        self._show_place()

    @on(TokenView.Moved)
    def _show_place(self) -> None:
        self.head.show(self.sheet, self.view.shade)
        if len(self.sheet):
            self.along.show(self.sheet, self.view.cursor)
            self.panel.show(self.sheet, self.view.cursor)

    def hint(self, words: str, kind: NoticeKind = "info") -> None:
        """Say something in passing."""
        if words == self.taken_hint:  # once more shows all of it
            self.hint_line.say(words, kind)
        self.hint_line.say(words, kind)

    # --- the cursor and the shades ------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """To the next token, or the one before."""
        self.view.move(step)

    def action_word(self, step: int) -> None:
        """To the next word, or the one before."""
        self.view.move_word(step)

    def action_surprise(self, step: int) -> None:
        """To the least likely token, then the next likely one."""
        self.view.move_by_surprise(step)

    def action_end(self, place: int) -> None:
        """To the first or the last token."""
        self.view.action_go(place)

    def action_shade(self) -> None:
        """Shade by the next of probability, surprise, entropy."""
        if not len(self.sheet):
            return
        shade = SHADES[(SHADES.index(self.view.shade) + 1) % len(SHADES)]
        self.view.show_shade(shade)
        self.head.show(self.sheet, shade)
        self.hint(f"Shaded by {shade}: {LEGENDS[shade].explained}.")

    # --- the candidates and the sliders -------------------------------------------------------------------

    def action_enter(self) -> None:
        """The keyboard goes to the candidates."""
        if len(self.sheet):
            (self.panel.bars.begin if self.focused is self.view else self.panel.bars.focus)()

    def action_switch(self) -> None:
        """As the token was drawn, or as the sliders are now."""
        self.panel.switch()

    def action_sliders(self) -> None:
        """The keyboard goes to the sliders."""
        if self.panel.sliders[0] in self.focus_chain:
            self.panel.sliders[0].focus()
        elif len(self.sheet):
            self.hint(NO_ROOM_FOR_SLIDERS)

    def _change_setting(self, setting: str, value: float) -> None:
        self.moved[setting] = value
        self._sampling.change(**{setting: value})

    @on(Slider.Refused)
    def _say_why_not(self, event: Slider.Refused) -> None:
        self.hint(event.why, "warning")

    # --- back ---------------------------------------------------------------------------------------------

    def action_back(self) -> None:
        """From the candidates, the sliders or the words to the text; from there to the chat."""
        self.remove_class("-typing")
        if self.focused is self.view or self.has_class("-empty"):
            self.action_leave()
        else:
            self.view.focus()

    def action_leave(self) -> None:
        """Back to the chat."""
        if self.is_current:
            self.dismiss()
