"""What a reply that waits can go on with: its next token's candidates, and words of the user's own."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from llama_chat.distribution.names import TokenNames
from llama_chat.distribution.told import told
from llama_chat.events import Awaiting
from llama_chat.sampling import Sampling
from llama_chat.steering import Hold
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.widgets.fitting import FittingLine, shorter_and_shorter

LOW_ROWS, SHORT_ROWS, ROOMY_ROWS = 10, 16, 30
"""Of the screen: from each on the box has more of them."""
TYPING_KEYS = (
    "Enter lets the words come next, with their spaces, as they are typed · Esc drops them",
    "Enter lets the words come next, with their spaces · Esc drops them",
    "Enter lets them come · Esc drops them",
    "Enter takes · Esc drops",
)


def rows_of_bars(screen_rows: int) -> int:
    """So many rows are for the candidates, their head and foot among them."""
    if screen_rows < LOW_ROWS:
        return 1
    return 3 if screen_rows < SHORT_ROWS else 8 if screen_rows < ROOMY_ROWS else 12


def head_wordings(hold: Hold, index: int) -> tuple[str, ...]:
    """Why the reply waits, and at which of its tokens; the longest first."""
    why = "paused" if hold == "paused" else "step mode"
    return (
        f"{why} · the next token, number {index + 1:,}, as the sliders have it",
        f"{why} · token {index + 1:,}, as the sliders have it",
        f"{why} · token {index + 1:,}",
    )


def key_wordings(hold: Hold, would_take: str, go_on_key: str) -> tuple[str, ...]:
    """What can be done; the longest first.

    Args:
        hold: why the reply waits.
        would_take: the name of the token that the sampler would take.
        go_on_key: lets the reply go on, as it is printed on the keyboard.
    """
    leave = f"{go_on_key} goes on · Esc stops" if hold == "paused" else "Esc lets it run"
    short_leave = f"{go_on_key} on · Esc stop" if hold == "paused" else "Esc run"
    return (
        f"↑ ↓ choose · Enter takes it · Space takes the sampler's, {would_take} · e own words · {leave}",
        f"↑ ↓ choose · Enter takes it · Space {would_take} · e own words · {leave}",
        f"↑ ↓ · Enter takes it · Space {would_take} · e own words · {short_leave}",
        f"↑ ↓ · Enter · Space the sampler's · e words · {short_leave}",
        f"↑ ↓ · Enter · Space · e words · {short_leave}",
        f"↑ ↓ Enter · Space · e · {short_leave.partition(' · ')[0]}",
    )


def way_wordings(go_on_key: str) -> tuple[str, ...]:
    """How to get to the box while the keyboard is elsewhere; the longest first."""
    return (
        f"Shift+Tab in the prompt, or a click, comes here to choose · {go_on_key} goes on",
        f"Shift+Tab in the prompt, or a click, to choose · {go_on_key} goes on",
        "Shift+Tab in the prompt, or a click, to choose",
        "Shift+Tab in the prompt to choose",
    )


class NextToken(Vertical):
    """The candidates as bars, with a cursor; `CandidateBars.Picked` says which one is wanted.

    Args:
        go_on_key: lets the reply go on, as it is printed on the keyboard.
    """

    DEFAULT_CSS = """
    NextToken {
        height: auto;
        max-width: 104;
        padding: 0 1;
        background: $panel;
        & > .head { text-style: bold; color: $foreground 60%; }
        & > .told { color: $foreground; }
        & > .keys { color: $foreground 60%; }
        & > CandidateBars { height: 8; }
        & > Input, & > Input:focus {
            display: none; height: 1; border: none; padding: 0 2; background: $surface;
        }
        &.-typing > Input { display: block; }
        &.-small.-typing > .head, &.-low > .head, &.-low > .told, &.-short > .told { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "step", "Take the sampler's", show=False),
        Binding("right", "step", "Take the sampler's", show=False),
        Binding("e", "write", "Own words", show=False),
        Binding("escape", "leave", "Leave", show=False),
    ]

    class StepWanted(Message):
        """What the sampler would take is to be taken."""

    class Typed(Message):
        """These words are to come next."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The user does not want to choose any more."""

    def __init__(self, go_on_key: str) -> None:
        super().__init__()
        self._go_on_key = go_on_key
        self._head = FittingLine("", classes="head")
        self.bars = CandidateBars()
        self._told = FittingLine("", classes="told")
        self._typed = Input(placeholder="your own words…", select_on_focus=False)
        self._keys = FittingLine("", classes="keys")
        self._shown: Awaiting | None = None
        self._would_take = -1
        self._wordings: tuple[str, ...] = ("",)
        self._is_aside = False
        """Whether the user has moved the cursor off the token that the sampler would take."""

    def compose(self) -> ComposeResult:
        """From the question to the keys that answer it."""
        yield self._head
        yield self.bars
        yield self._told
        yield self._typed
        yield self._keys

    def on_mount(self) -> None:
        """Take as much room as the screen has."""
        self.fit(self.app.size.height)

    def fit(self, screen_rows: int) -> None:
        """Take as many rows as a screen of this height has for it."""
        self.bars.styles.height = rows_of_bars(screen_rows)
        self.set_class(screen_rows < LOW_ROWS, "-low")
        self.set_class(screen_rows < SHORT_ROWS, "-small")
        self.set_class(screen_rows < ROOMY_ROWS, "-short")

    def show(self, awaiting: Awaiting, sampling: Sampling, names: TokenNames, hold: Hold) -> None:
        """Show this choice; where it is the one that is shown, the cursor stays where the user put it."""
        is_same = self._shown is not None and self._shown.index == awaiting.index
        kept_id = self.bars.cursor_id if is_same and self._is_aside else None
        self._shown, self._would_take = awaiting, awaiting.would_take
        self._is_aside = kept_id is not None
        self.bars.show(awaiting.candidates, sampling, names, awaiting.would_take)
        places = (n for n, bar in enumerate(self.bars.bars.bars) if bar.token_id == kept_id)
        if (place := next(places, None)) is not None:
            self.bars.go_to(place)
        self._head.say(*head_wordings(hold, awaiting.index))
        sentence = told(self.bars.bars, sampling, awaiting.would_take, names.quoted)
        self._told.say(*shorter_and_shorter(sentence))
        self._wordings = key_wordings(hold, names.quoted(awaiting.would_take), self._go_on_key)
        self._say_keys()

    def reshape(self, sampling: Sampling, names: TokenNames, hold: Hold) -> None:
        """The sliders were moved: the same choice, as they have it now."""
        if self._shown is not None:
            self.show(self._shown, sampling, names, hold)

    def _say_keys(self) -> None:
        if not self.has_focus_within:
            self._keys.say(*way_wordings(self._go_on_key))
        else:
            self._keys.say(*(TYPING_KEYS if self.is_typing else self._wordings))

    def take_keyboard(self) -> None:
        """Take the keys: for the words that are being written, else for the candidates."""
        (self._typed if self.is_typing else self.bars).focus()

    def on_click(self) -> None:
        """Take the keys, wherever in the box the click was."""
        if not self.has_focus_within:
            self.take_keyboard()

    def on_descendant_focus(self) -> None:
        """Name the keys that work from now on."""
        self._say_keys()

    def on_descendant_blur(self) -> None:
        """Say how to get here: the keys are another's."""
        self._say_keys()

    @property
    def is_typing(self) -> bool:
        """Whether the user writes words of his own."""
        return self.has_class("-typing")

    @on(CandidateBars.Moved)
    def _note_cursor(self, event: CandidateBars.Moved) -> None:
        event.stop()
        self._is_aside = event.token_id != self._would_take

    def action_step(self) -> None:
        """Take what the sampler would."""
        self.post_message(self.StepWanted())

    def action_write(self) -> None:
        """Write words of one's own."""
        self.add_class("-typing")
        self._say_keys()
        self._typed.value = ""
        self._typed.focus()

    def action_leave(self) -> None:
        """Drop the words, else leave it to the sampler."""
        if self.is_typing:
            self._end_typing()
        else:
            self.post_message(self.Left())

    def _end_typing(self) -> None:
        self.remove_class("-typing")
        self._say_keys()
        self.bars.focus()

    @on(Input.Submitted)
    def _take_words(self, event: Input.Submitted) -> None:
        event.stop()
        self._end_typing()
        if event.value:
            self.post_message(self.Typed(event.value))

    def on_paste(self, event: events.Paste) -> None:
        """Words that are pasted are not for the prompt while some are written here."""
        if self.is_typing:
            event.stop()
