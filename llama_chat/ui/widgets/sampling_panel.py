"""The sliders of the sampling, made from the fields of `Sampling`; they act on the very next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from llama_chat.events import LiveSampling, Sampling
from llama_chat.sampling import setting_label
from llama_chat.ui.scale import Scale
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.slider import Slider

MAIN_SETTINGS = ("temperature", "top_k", "max_new_tokens")
MORE_SETTINGS = ("top_p", "min_p", "repetition_penalty")
_SHEET_KEYS = "← → move · ↑ ↓ next · 0…9 a value · d default · ^O back", "← → move · ^O back"
QUIET_S = 0.6
"""A moved value is saved when it has rested so long."""

SETTINGS = {field.name: field for field in fields(Sampling)}


def sheet_titles(hidden_above: int, hidden_below: int) -> tuple[str, ...]:
    """The line over a sheet, the longest wording first: where more sliders are, and the keys."""
    more = f"↓ {hidden_below} more" if hidden_below else f"↑ {hidden_above} more" if hidden_above else ""
    long, short = _SHEET_KEYS
    if not more:
        return f"sampling     {long}", f"sampling  {short}"
    return f"sampling  {more}     {long}", f"sampling  {more}  {short}", f"{more}  {short}"


def slider_of(setting: str, sampling: Sampling, *, compact: bool = False) -> Slider:
    """The slider for one field of `Sampling`."""
    field = SETTINGS[setting]
    scale = Scale.of_setting(field.default, field.metadata)
    return Slider(setting, setting_label(setting), scale, getattr(sampling, setting), compact=compact)


class SamplingPanel(VerticalScroll, can_focus=False):
    """A column of sliders, or a low sheet of them.

    Args:
        live: what they act on.
        settings: which fields, from top to bottom.
        compact: one line for each, for a sheet.
    """

    DEFAULT_CSS = """
    SamplingPanel {
        padding: 1 1;
        background: $panel;
        scrollbar-size-vertical: 1;
        & > .title { padding: 0 1; text-style: bold; color: $foreground 60%; margin-bottom: 1; }
        & > Slider { margin-bottom: 1; }
        & > .help { padding: 0 1; color: $foreground 50%; }
        &.-sheet {
            padding: 0 1;
            height: auto;
            & > .title { dock: top; margin-bottom: 0; }
            & > Slider { margin-bottom: 0; }
            & > .help { display: none; }
        }
    }
    """

    class Rested(Message):
        """A value was moved and has rested: it can be saved."""

        def __init__(self, setting: str, value: float) -> None:
            super().__init__()
            self.setting = setting
            self.value = value

    def __init__(
        self, live: LiveSampling, settings: Sequence[str] = MAIN_SETTINGS, *, compact: bool = False
    ) -> None:
        super().__init__()
        self._live = live
        self._settings = settings
        self._compact = compact
        self._unsaved: dict[str, float] = {}
        self._timer: Timer | None = None
        self.set_class(compact, "-sheet")

    def compose(self) -> ComposeResult:
        """A title, the sliders, and what the one with the focus means."""
        yield FittingLine(*(sheet_titles(0, 0) if self._compact else ("sampling",)), classes="title")
        for setting in self._settings:
            yield slider_of(setting, self._live.current, compact=self._compact)
        yield Static("", classes="help")

    def on_mount(self) -> None:
        """Say what lies above and below, as long as the sheet is there."""
        if self._compact:
            self.watch(self, "scroll_y", self._say_what_is_hidden, init=False)

    def on_resize(self) -> None:
        """Say it for the new height."""
        if self._compact:
            self.call_after_refresh(self._say_what_is_hidden)

    def _say_what_is_hidden(self) -> None:
        sliders = self.query(Slider)
        shown = self.scrollable_content_region.height - 1  # one line each, below the title
        above = min(round(self.scroll_y), max(0, len(sliders) - shown))
        below = max(0, len(sliders) - shown - above)
        for title in self.query(".title").results(FittingLine):
            title.say(*sheet_titles(above, below))

    def show_current(self) -> None:
        """Put the sliders where the settings are, without telling anybody."""
        for slider in self.query(Slider):
            slider.value = getattr(self._live.current, slider.setting)

    def focus_first(self) -> None:
        """Give the keyboard to the first slider, as soon as there is one."""
        if sliders := self.query(Slider):
            sliders.first().focus()
        elif self.is_attached:  # mounted, but not composed yet
            self.call_after_refresh(self.focus_first)

    @on(Slider.Changed)
    def _act(self, event: Slider.Changed) -> None:
        event.stop()
        self._live.change(**{event.setting: event.value})
        self._unsaved[event.setting] = event.value
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(QUIET_S, self.save_now)

    def save_now(self) -> None:
        """Ask for what was moved to be saved."""
        for setting, value in self._unsaved.items():
            self.post_message(self.Rested(setting, value))
        self._unsaved.clear()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Say what the slider does."""
        if isinstance(event.widget, Slider):
            text = SETTINGS[event.widget.setting].metadata["help"]
            self.query_one(".help", Static).update(Content(text))

    def on_descendant_blur(self, _event: DescendantBlur) -> None:
        """Say nothing."""
        self.query_one(".help", Static).update(Content(""))
