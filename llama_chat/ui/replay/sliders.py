"""The sliders of a replay: they stand where they stood, and cannot be moved; a line for small screens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.events import LiveSampling, Sampling
from llama_chat.sampling import setting_label, setting_value
from llama_chat.ui.widgets.fitting import FittingLine, cut
from llama_chat.ui.widgets.sampling_panel import MAIN_SETTINGS, MORE_SETTINGS, SamplingPanel, slider_of


class ShownSliders(SamplingPanel):
    """The chat's panel of sliders, for looking at."""

    def __init__(self, sampling: Sampling) -> None:
        self._shown = LiveSampling(sampling)
        super().__init__(self._shown, MAIN_SETTINGS + MORE_SETTINGS)

    def compose(self) -> ComposeResult:
        """A title and the sliders, which take neither the keyboard nor the mouse."""
        yield FittingLine("sampling, as it was", "sampling", classes="title")
        for setting in MAIN_SETTINGS + MORE_SETTINGS:
            slider = slider_of(setting, self._shown.current)
            slider.disabled = True
            yield slider

    def show_sampling(self, sampling: Sampling) -> None:
        """Move the sliders to these settings."""
        if sampling != self._shown.current:
            self._shown.current = sampling
            self.show_current()


_BETWEEN = " · "
_MORE = " …"


@dataclass(frozen=True, slots=True)
class SettingsView:
    """What the line of settings shows; equal views look the same."""

    sampling: Sampling = field(default_factory=Sampling)
    moved: Mapping[str, float] = field(default_factory=dict)
    """By setting that was moved just now: where it stood before."""


class SettingsLine(Widget):
    """`temperature 0.85 · top-k 40 · …`: for screens without room for sliders; what moved is marked."""

    DEFAULT_CSS = """
    SettingsLine { display: none; height: 1; max-width: 104; padding: 0 1; }
    """

    view: reactive[SettingsView] = reactive(SettingsView())

    def render(self) -> Content:
        """As many settings as there is room for, and of those that were moved the old value, too."""
        parts = fitting_settings(self.view, self.content_size.width)
        styled: list[tuple[str, str]] = []
        for words, is_moved in parts:
            styled.append((words, "$accent bold" if is_moved else "$foreground 60%"))
        return Content.assemble(*styled)


def fitting_settings(view: SettingsView, cells: int) -> list[tuple[str, bool]]:
    """The line in parts, and whether each was moved; the moved ones stay when there is little room."""
    words = {each.name: _setting_words(each.name, view) for each in fields(Sampling)}
    kept = list(words)
    leaving = [*(name for name in reversed(kept) if name not in view.moved), *reversed(list(view.moved))]
    while len(kept) > 1 and cell_len(_line(kept, words)) > cells:
        kept.remove(leaving.pop(0))
    found: list[tuple[str, bool]] = []
    for name in kept:
        found += [(_BETWEEN, False)] * bool(found) + [(words[name], name in view.moved)]
    if len(kept) == 1:
        found = [(cut(words[kept[0]], cells), kept[0] in view.moved)]
    elif len(kept) < len(words):
        found.append((_MORE, False))
    return found


def _line(kept: list[str], words: Mapping[str, str]) -> str:
    return _BETWEEN.join(words[name] for name in kept) + _MORE * (len(kept) < len(words))


def _setting_words(name: str, view: SettingsView) -> str:
    now = setting_value(name, getattr(view.sampling, name))
    before = f"{setting_value(name, view.moved[name])} → " if name in view.moved else ""
    return f"{setting_label(name)} {before}{now}"
