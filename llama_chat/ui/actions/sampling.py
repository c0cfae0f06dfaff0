"""The sliders, the seed and the presets: what their keys, their commands and their panel do."""

from __future__ import annotations

from textual import on

from llama_chat.chat.picks.one_setting import set_by_words
from llama_chat.chat.picks.seeds import parse_seed, seed_sentence, toggled_seed
from llama_chat.errors import UsageError
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.screens.setting_changes import change_setting
from llama_chat.ui.widgets.panel_title import PanelTitle
from llama_chat.ui.widgets.sampling_panel import SamplingPanel
from llama_chat.ui.widgets.seed_row import SeedRow
from llama_chat.ui.widgets.slider import Slider


class SamplingActions(ChatViewScreen):
    """What the chat screen does with the settings of the sampling."""

    def action_sampling(self, words: str = "") -> None:
        """Set one of the sliders; without words, show or hide them.

        Raises:
            UsageError: there is no such setting, or the value does not fit.
        """
        if words:
            self.hint(set_by_words(self.bridge, words))
            self.sampling_changed()
        else:
            openers.toggle_sampling(self)

    @on(SamplingPanel.Rested)
    def _save_sampling(self, event: SamplingPanel.Rested) -> None:
        self.bridge.save_setting("sampling", event.setting, event.value)

    @on(Slider.Refused)
    def _say_why_not(self, event: Slider.Refused) -> None:
        self.hint(event.why, "warning")

    def action_seed(self, words: str = "") -> None:
        """Lock the seed of the last reply, or free it; with words, to what they say.

        Raises:
            UsageError: the words are no seed, or there is no reply yet.
        """
        last = self.chat.last_seed
        if words:
            self._take_seed(parse_seed(words, last=last))
            return
        try:
            self._take_seed(toggled_seed(self.chat.seed, last=last))
        except UsageError as error:
            self.hint(str(error), "warning")

    def _take_seed(self, seed: int) -> None:
        change_setting(self, "seed", seed)
        self.hint(seed_sentence(seed))

    @on(SeedRow.Wanted)
    def _take_wanted_seed(self, event: SeedRow.Wanted) -> None:
        event.stop()
        if event.seed != self.chat.seed:
            self._take_seed(event.seed)

    @on(SeedRow.Refused)
    def _say_why_no_seed(self, event: SeedRow.Refused) -> None:
        event.stop()
        self.hint(event.why, "warning")

    def action_presets(self, words: str = "") -> None:
        """Choose a preset, with a preview; with words, take, save or delete the one that they name.

        Raises:
            UsageError: there is none of that name, or none can be called so.
        """
        if words:
            self.hint(self.presets.run(words))
            self.sampling_changed()
        else:
            self._choose_preset()

    @on(PanelTitle.Clicked)
    def _choose_preset(self) -> None:
        from llama_chat.ui.screens.presets import PresetScreen

        self.app.push_screen(PresetScreen(self))
