"""The sliders of the sampling, made from the fields of `Sampling`; they act on the very next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from llama_chat.events import LiveSampling, Sampling
from llama_chat.sampling import changed_settings, setting_label
from llama_chat.ui.scale import Scale
from llama_chat.ui.widgets.fitting import first_fitting, shorter_and_shorter
from llama_chat.ui.widgets.panel_title import PanelTitle
from llama_chat.ui.widgets.seed_row import SeedRow
from llama_chat.ui.widgets.slider import Slider

MAIN_SETTINGS = ("temperature", "top_k", "max_new_tokens")
MORE_SETTINGS = ("top_p", "min_p", "repetition_penalty")
_SHEET_KEYS = (
    "← → move · ↑ ↓ next · 0…9 a value · Del default · ^O back",
    "← → move · 0…9 value · Del default · ^O back",
    "← → move · ^O back",
)
_PANEL_KEYS = "← → move · 0…9 a value\nDel default · Esc back"
FULL_ROWS = 32
"""A lower panel has no room for the help below its rows."""
QUIET_S = 0.6
"""A moved value is saved when it has rested so long."""

SETTINGS = {field.name: field for field in fields(Sampling)}


def titles(changed: int) -> tuple[str, ...]:
    """The line over the panel, the longest wording first: how many settings are not at their defaults."""
    return (f"sampling · {changed} changed", f"{changed} changed") if changed else ("sampling",)


def sheet_titles(hidden_above: int, hidden_below: int, changed: int = 0) -> tuple[str, ...]:
    """The line over a sheet, the longest wording first: where more sliders are, and the keys."""
    more = f"↓ {hidden_below} more" if hidden_below else f"↑ {hidden_above} more" if hidden_above else ""
    name = titles(changed)[0]
    begin = f"{name}  {more}".rstrip()
    *long, short = (f"{begin}     {keys}" for keys in _SHEET_KEYS)
    last = f"{more or 'sampling'}  {_SHEET_KEYS[-1]}"
    return (*long, short, last, f"{more}  ^O back".lstrip(), more or "sampling")


def slider_of(setting: str, sampling: Sampling, *, compact: bool = False) -> Slider:
    """The slider for one field of `Sampling`."""
    field = SETTINGS[setting]
    scale = Scale.of_setting(field.default, field.metadata)
    slider = Slider(setting, setting_label(setting), scale, getattr(sampling, setting), compact=compact)
    slider.tooltip = Content(field.metadata["help"])
    return slider


@dataclass(frozen=True, slots=True)
class PanelFacts:
    """What the panel shows beside the sampling; asked for whenever it is shown anew."""

    preset_name: Callable[[], str]
    """Of the preset that the values equal."""
    seed: Callable[[], int]
    """-1: a fresh one for every reply."""
    last_seed: Callable[[], int | None]


class SamplingPanel(VerticalScroll, can_focus=False):
    """A column of sliders, or a low sheet of them.

    Args:
        live: what they act on.
        settings: which fields, from top to bottom.
        compact: one line for each, for a sheet.
        facts: of the preset and the seed; without them neither is shown.
    """

    DEFAULT_CSS = """
    SamplingPanel {
        padding: 1 1;
        background: $panel;
        scrollbar-size-vertical: 1;
        & > .title { padding: 0 1; text-style: bold; color: $foreground 60%; margin-bottom: 1; }
        & > Slider, & > SeedRow { margin-bottom: 1; }
        & > .help { height: auto; padding: 0 1; color: $foreground 60%; }
        &.-full > .help { dock: bottom; }
        &.-sheet {
            padding: 0 1;
            height: auto;
            & > .title { dock: top; margin-bottom: 0; }
            & > Slider, & > SeedRow { margin-bottom: 0; }
            & > .help { display: none; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        }
    }
    """

    class Rested(Message):
        """A value was moved and has rested: it can be saved."""

        def __init__(self, setting: str, value: float) -> None:
            super().__init__()
            self.setting = setting
            self.value = value

    class Moved(Message):
        """A value was moved; it counts already."""

    def __init__(
        self,
        live: LiveSampling,
        settings: Sequence[str] = MAIN_SETTINGS,
        *,
        compact: bool = False,
        facts: PanelFacts | None = None,
    ) -> None:
        super().__init__()
        self._facts = facts
        self._live = live
        self._settings = settings
        self._compact = compact
        self._unsaved: dict[str, float] = {}
        self._timer: Timer | None = None
        self.set_class(compact, "-sheet")

    def compose(self) -> ComposeResult:
        """A title, the sliders, and what the one with the focus means."""
        yield PanelTitle("sampling", classes="title")
        for setting in self._settings:
            yield slider_of(setting, self._live.current, compact=self._compact)
        if self._facts is not None:
            yield SeedRow(compact=self._compact)
        yield Static("", classes="help")

    def on_mount(self) -> None:
        """Say what lies above and below, as long as the sheet is there."""
        self.show_facts()
        if self._compact:
            self.watch(self, "scroll_y", self.show_title, init=False)

    def on_resize(self) -> None:
        """Say it for the new height; where the rows fill it, the help stays in sight below them."""
        self.set_class(self.size.height < FULL_ROWS, "-full")
        if self._compact:
            self.call_after_refresh(self.show_title)
        focused = self.screen.focused
        if focused is not None and self in focused.ancestors:  # it took the keyboard before there were rows
            self.call_after_refresh(focused.scroll_visible, animate=False)

    def show_title(self) -> None:
        """Say how many values are not the defaults, which preset they equal, and what is out of sight."""
        changed = len(changed_settings(self._live.current))
        changed += sum(row.is_changed for row in self.query(SeedRow))
        for title in self.query(PanelTitle):
            title.say(*(sheet_titles(*self._hidden_rows(), changed) if self._compact else titles(changed)))
            title.show_preset(self._facts.preset_name() if self._facts else "")

    def _hidden_rows(self) -> tuple[int, int]:
        """How many rows lie above and below what is shown."""
        rows = len(self.query("Slider, SeedRow"))
        shown = self.scrollable_content_region.height - self._docked_rows
        above = min(round(self.scroll_y), max(0, rows - shown))
        return above, max(0, rows - shown - above)

    @property
    def _docked_rows(self) -> int:
        """Those of the title, and of the help where it is shown."""
        return 1 + sum(help_text.size.height for help_text in self.query(".help") if help_text.display)

    def show_facts(self) -> None:
        """Show the seed and the title as they are now."""
        for row in self.query(SeedRow):
            assert self._facts is not None, "without them there is no row"
            row.seed, row.last = self._facts.seed(), self._facts.last_seed()
        self.show_title()

    def show_current(self) -> None:
        """Put the sliders where the settings are, without telling anybody."""
        for slider in self.query(Slider):
            slider.value = getattr(self._live.current, slider.setting)
        self.show_title()

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
        self.post_message(self.Moved())
        self.show_title()
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
        tooltip = event.widget.tooltip
        if isinstance(event.widget, Slider | SeedRow) and isinstance(tooltip, Content):
            help_text = self.query_one(".help", Static)
            if self._compact:
                cells = help_text.content_size.width or self.app.size.width - 4
                tooltip = Content(first_fitting(shorter_and_shorter(tooltip.plain), cells))
            else:
                tooltip = Content.assemble(tooltip, "\n", (_PANEL_KEYS, "$foreground"))
            help_text.update(tooltip)

    def on_descendant_blur(self, _event: DescendantBlur) -> None:
        """Say nothing."""
        self.query_one(".help", Static).update(Content(""))
