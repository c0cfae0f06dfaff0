"""The token under the cursor: facts, candidates as bars, and in words what the sliders did."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from llama_chat.chat.tokens.sheet import TokenSheet
from llama_chat.chat.tokens.words import facts_of_token, flowed, told_of_candidate
from llama_chat.sampling import Sampling
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.widgets.fitting import FittingLine, cut
from llama_chat.ui.widgets.sampling_panel import slider_of
from llama_chat.ui.widgets.slider import Slider

SETTINGS = ("temperature", "top_k", "top_p", "min_p")
AS_DRAWN, NOW = "as drawn", "sliders now"
_GAP = "   "
_DRAWN_TITLE = "the sliders, as this token was drawn · x: as they are now"
_NOW_TITLE = "the sliders, as they are now · x: as this token was drawn"
_DRAWN_TITLES = (_DRAWN_TITLE, "as it was drawn · x: sliders now", "as drawn · x now")
_OPINION_TITLES = ("the sliders, as they are now", "sliders now")
_NOW_TITLES = (_NOW_TITLE, "sliders now · x: as it was drawn", "now · x as drawn")


_ABOUT = Content(
    "Each token stands on a shade, which the scale above explains.\n\n"
    "▸ was taken here. ✂ was cut by the setting that it names, and cannot be drawn. "
    "≈ is about so: what the model kept of the choice does not tell it exactly.\n\n"
    "The settings act in this order: temperature, top-k, top-p, min-p. They count for the next reply, too."
)


class FactLines(Widget):
    """Facts, in as many lines as they need and the screen has room for."""

    DEFAULT_CSS = """
    FactLines { width: 1fr; height: auto; max-height: 3; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._facts: list[str] = []

    def say(self, facts: list[str]) -> None:
        """Show these; the first one counts most."""
        if facts != self._facts:
            lines = len(self._lines(self.content_size.width))
            self._facts = facts
            self.refresh(layout=len(self._lines(self.content_size.width)) != lines)

    def _lines(self, width: int) -> list[list[str]]:
        return flowed(self._facts, max(1, width), _GAP)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  (Textual's)
        """As many lines as the facts take."""
        return max(1, len(self._lines(width)))

    def render(self) -> Content:
        """The name of the token stands out."""
        lines = self._lines(self.content_size.width)
        text = [cut(_GAP.join(line), self.content_size.width) for line in lines]
        name = len(self._facts[0]) if self._facts else 0
        return Content("\n".join(text)).stylize("bold $text-accent", 0, name)


class ToldLine(Widget):
    """A sentence or two, in at most two lines."""

    DEFAULT_CSS = """
    ToldLine { width: 1fr; height: 2; padding: 0 1; color: $foreground; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._words = ""

    def say(self, words: str) -> None:
        """Show these words."""
        if words != self._words:
            self._words = words
            self.refresh()

    def render(self) -> Content:
        """What fits."""
        width, height = self.content_size.width, max(1, self.content_size.height)
        lines = [line.plain.rstrip() for line in Content(self._words).wrap(max(1, width))]
        if len(lines) > height:
            lines = [*lines[: height - 1], cut(" ".join(lines[height - 1 :]), width)]
        return Content("\n".join(lines))


class TokenPanel(Vertical):
    """Shows one token of a sheet, as it was drawn or as the sliders would have it.

    Args:
        sampling_now: the settings as the sliders of the chat stand.
        change: moves one of them.
    """

    DEFAULT_CSS = """
    TokenPanel {
        height: 1fr;
        & FactLines { background: $surface; }
        & .choice { height: 1fr; layout: vertical; }
        & .bars { height: 1fr; }
        & CandidateBars { height: 1fr; padding: 0 1; }
        & .sliders { height: auto; background: $surface; }
        & .slider-rows { height: auto; layout: grid; grid-size: 2; grid-rows: 1; grid-gutter: 0 2; }
        & .slider-title { padding: 0 1; color: $foreground 60%; }
        & .about { display: none; height: auto; padding: 1; color: $foreground 60%; }
    }
    """

    def __init__(self, sampling_now: Callable[[], Sampling], change: Callable[[str, float], None]) -> None:
        super().__init__()
        self._sampling_now = sampling_now
        self._change = change
        self.is_as_drawn = True
        self._sheet: TokenSheet | None = None
        self._place = 0
        self.facts = FactLines()
        self.bars = CandidateBars()
        self._told = ToldLine()
        self._title = FittingLine(*_DRAWN_TITLES, classes="slider-title")
        self.sliders = [slider_of(setting, sampling_now(), compact=True) for setting in SETTINGS]

    def compose(self) -> ComposeResult:
        """Facts, bars with their sentence, and the sliders below or beside them."""
        yield self.facts
        with Horizontal(classes="choice"):
            with Vertical(classes="bars"):
                yield self.bars
                yield self._told
            with Vertical(classes="sliders"):
                yield self._title
                with Container(classes="slider-rows"):
                    yield from self.sliders
                yield Static(_ABOUT, classes="about")

    def show(self, sheet: TokenSheet, place: int) -> None:
        """Show that token."""
        is_same = self._sheet is not None and self._place == place and self._is_same_token(sheet, place)
        self._sheet, self._place = sheet, place
        self.facts.say(facts_of_token(sheet, place))
        self._show_bars(is_same=is_same)

    def _is_same_token(self, sheet: TokenSheet, place: int) -> bool:
        before = self._sheet
        return (
            before is not None and before.names is sheet.names and before.tokens[place] is sheet.tokens[place]
        )

    def show_nothing(self) -> None:
        """There is no token."""
        self._sheet = None
        self.facts.say([])
        self.bars.show_nothing()
        self._told.say("")

    @property
    def sampling(self) -> Sampling:
        """What the bars are made with."""
        if self._sheet is None or not self.is_as_drawn or self._sheet.is_opinion:
            return self._sampling_now()
        return self._sheet.tokens[self._place].sampling

    def switch(self) -> None:
        """From the settings that the token was drawn with to the sliders as they are now, or back."""
        self.is_as_drawn = not self.is_as_drawn
        self._show_bars(is_same=True)

    def move_slider(self, setting: str, value: float) -> None:
        """A slider was moved: it counts, and with it all of them."""
        self.is_as_drawn = False
        self._change(setting, value)
        self._show_bars(is_same=True)

    def _show_bars(self, *, is_same: bool) -> None:
        sheet, sampling = self._sheet, self.sampling
        is_opinion = sheet is not None and sheet.is_opinion
        drawn = self.is_as_drawn and not is_opinion
        self._title.say(*(_OPINION_TITLES if is_opinion else _DRAWN_TITLES if drawn else _NOW_TITLES))
        for slider in self.sliders:
            slider.value = getattr(sampling, slider.setting)
        if sheet is None:
            return
        token = sheet.tokens[self._place]
        self.bars.show(
            token.candidates,
            sampling,
            sheet.names,
            token.token_id,
            what=AS_DRAWN if drawn else NOW,
            keeps_cursor=is_same,
            begins_at_chosen=self.bars.has_focus,  # else the likeliest are in view
        )
        self.tell()

    def tell(self) -> None:
        """Say what the settings did to the candidate under the cursor."""
        sheet = self._sheet
        if sheet is None:
            return
        token = sheet.tokens[self._place]
        token_id = self.bars.cursor_id if self.bars.has_focus else token.token_id
        bars = self.bars.bars
        self._told.say(
            told_of_candidate(sheet, bars, self.sampling, token.token_id if token_id is None else token_id)
        )

    def on_slider_changed(self, event: Slider.Changed) -> None:
        """Redraw at once."""
        event.stop()
        self.move_slider(event.setting, event.value)

    def on_candidate_bars_moved(self, event: CandidateBars.Moved) -> None:
        """Tell of that one."""
        event.stop()
        self.tell()
