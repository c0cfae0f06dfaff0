"""The sliders of a replay: they stand where they stood, and cannot be moved."""

from __future__ import annotations

from textual.app import ComposeResult

from llama_chat.events import LiveSampling, Sampling
from llama_chat.ui.widgets.fitting import FittingLine
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
