"""The parts of the screen of the tokens, and the line of keys for whichever has the keyboard."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from llama_chat.ui.compositor import FrugalCompositor
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.tokens.head_lines import AlongLine, SheetHead
from llama_chat.ui.tokens.panel import TokenPanel
from llama_chat.ui.tokens.token_view import TokenView
from llama_chat.ui.widgets.fitting import FittingLine
from llama_chat.ui.widgets.hint_line import HintLine
from llama_chat.ui.widgets.slider import Slider

_TEXT_KEYS = (
    "← → token · ⇧← ⇧→ least likely · ^← ^→ word · Enter other candidates · Tab sliders · s shade · "
    "e your own words · w walk · a where it looked · ? help · Esc back",
    "← → token · ⇧→ least likely · Enter candidates · Tab sliders · s shade · w walk · ? all keys · Esc back",
    "← → token · ⇧→ least likely · Enter candidates · s shade · ? all keys · Esc",
    "← → token · Enter candidates · ? keys · Esc",
    "← → token · ? keys · Esc",
    "? keys · Esc",
)
_BARS_KEYS = (
    "↑ ↓ candidate · Enter goes on with it from here, on a new branch · ← → token · Tab sliders · Esc text",
    "↑ ↓ candidate · Enter goes on with it, on a new branch · ← → token · Esc",
    "↑ ↓ · Enter goes on with it · Esc",
    "↑ ↓ · Enter takes it · Esc",
)
_SLIDER_KEYS = (
    "← → move · ↑ ↓ next slider · 0…9 a value · Del default · x: as it was drawn, or as now · Esc text",
    "← → move · ↑ ↓ next · 0…9 value · x as it was drawn · Esc text",
    "← → move · ↑ ↓ next · Esc",
)
_TYPING_KEYS = (
    "Enter lets the reply go on with your words from here, on a new branch · Esc back",
    "Enter goes on with them · Esc back",
)


class TokenFrame(Screen[None]):
    """Figures, text, panel, keys; `TokenScreen` fills them."""

    DEFAULT_CSS = """
    TokenFrame {
        layout: vertical;
        layers: base hints;
        background: $background;
        color: $foreground;
        & TokenView { height: auto; min-height: 4; max-height: 30%; padding: 1 1 0 1; }
        & .keys { height: 1; padding: 0 1; color: $foreground 60%; background: $panel; }
        & Input { display: none; border: none; height: 1; padding: 0 1; background: $surface; }
        & Input:focus { border: none; }
        & HintLine { dock: bottom; layer: hints; max-width: 100%; background: $panel; }
        & .nothing { display: none; height: 1fr; padding: 1 2; }
        &.-typing Input { display: block; }
        &.-empty .nothing { display: block; }
        &.-empty TokenView, &.-empty TokenPanel { display: none; }
        &.-tall TokenView { max-height: 40%; padding: 1; }
        &.-low TokenView { min-height: 3; }
        &.-low AlongLine { display: none; }
        &.-low TokenView, &.-short TokenView { padding: 0 1; }
        &.-wide {
            & .choice { layout: horizontal; }
            & .bars { width: 1fr; }
            & .sliders { width: 46; height: 100%; padding: 0 1; margin-left: 1; }
            & .slider-rows { layout: vertical; }
            & Slider { margin-top: 1; }
            &.-tall .about { display: block; }
        }
        &.-narrow .slider-rows { grid-size: 1; }
        &.-low FactLines { max-height: 1; }
        &.-short FactLines { max-height: 2; }
        &.-short ToldLine { height: 1; }
        &.-low ToldLine, &.-low .sliders, &.-short .sliders { display: none; }
    }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-medium"), (120, "-wide")]  # noqa: RUF012  (Textual's)
    VERTICAL_BREAKPOINTS = [(0, "-low"), (14, "-short"), (20, "-roomy"), (36, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Token before", show=False),
        Binding("right", "move(1)", "Next token", show=False),
        Binding("ctrl+left", "word(-1)", "Word before", show=False),
        Binding("ctrl+right", "word(1)", "Next word", show=False),
        Binding("shift+left", "surprise(-1)", "More surprising", show=False),
        Binding("shift+right", "surprise(1)", "Less surprising", show=False),
        Binding("home", "end(0)", "First token", show=False),
        Binding("end", "end(-1)", "Last token", show=False),
        Binding("s", "shade", "Shade", show=False),
        Binding("x", "switch", "As drawn or as the sliders are", show=False),
        Binding("enter", "enter", "Candidates", show=False),
        Binding("ctrl+o", "sliders", "Sliders", show=False),
        Binding("tab", "next_part(1)", show=False, priority=True),
        Binding("shift+tab", "next_part(-1)", show=False, priority=True),
        Binding("escape", "back", "Back", show=False),
        Binding("ctrl+t,ctrl+c", "leave", "Back to the chat", show=False),
        Binding("question_mark,f1", "help", "All keys", show=False),
    ]

    TEXT_KEYS: ClassVar[tuple[str, ...]] = _TEXT_KEYS
    BARS_KEYS: ClassVar[tuple[str, ...]] = _BARS_KEYS
    IS_CHAT: ClassVar[bool] = True
    """Whether something can go on from here, and a model be asked."""

    def __init__(self, panel: TokenPanel) -> None:
        super().__init__()
        self._compositor = FrugalCompositor()
        self.head = SheetHead()
        self.along = AlongLine()
        self.view = TokenView()
        self.panel = panel
        self.nothing = Static("", classes="nothing")
        self.hint_line = HintLine()
        self.typed = Input(placeholder="your words, in the place of this token…", compact=True)
        self.taken_hint = ""
        """What the last key took away."""
        self._keys = FittingLine(*self.TEXT_KEYS, classes="keys")

    def compose(self) -> ComposeResult:
        """Figures, text, the token under the cursor, keys."""
        yield self.head
        yield self.along
        yield self.view
        yield self.panel
        yield self.nothing
        yield self.hint_line
        yield self.typed
        yield self._keys

    def on_mount(self) -> None:
        """The keyboard is at the text; the keys are told of whatever has it."""
        self.view.focus()
        self.watch(self, "focused", self._tell_keys, init=False)

    @on(events.Key)
    @on(Input.Changed)
    def take_hint_away(self) -> None:
        """What was said in passing goes at the next key: it lies over the line of keys."""
        self.taken_hint = self.hint_line.text
        self.hint_line.clear()

    def show_empty(self, words: str, *keys: str) -> None:
        """There are no tokens, and why."""
        self.add_class("-empty")
        self.nothing.update(Content(words))
        self._keys.say(*keys)

    def _tell_keys(self) -> None:
        if isinstance(self.focused, CandidateBars):
            self._keys.say(*self.BARS_KEYS)
        elif isinstance(self.focused, Slider):
            self._keys.say(*_SLIDER_KEYS)
        elif isinstance(self.focused, Input):
            self._keys.say(*_TYPING_KEYS)
        elif not self.has_class("-empty"):
            self._keys.say(*self.TEXT_KEYS)
        self.panel.tell()

    def action_help(self) -> None:
        """All keys."""
        from llama_chat.ui.tokens.help import TokenHelp

        self.app.push_screen(TokenHelp(is_chat=self.IS_CHAT))

    def action_next_part(self, step: int) -> None:
        """From the text to the candidates, the sliders, and back; the sliders are one part."""
        self.take_hint_away()  # Textual sends a priority key to nobody else
        parts = [
            part for part in (self.view, self.panel.bars, self.panel.sliders[0]) if part in self.focus_chain
        ]
        if not parts or isinstance(self.focused, Input):
            return
        here = self.panel.sliders[0] if isinstance(self.focused, Slider) else self.focused
        place = next((n for n, part in enumerate(parts) if part is here), 0)
        part = parts[(place + step) % len(parts)]
        if part is self.panel.bars and self.focused is self.view:
            self.panel.bars.begin()
        else:
            part.focus()
