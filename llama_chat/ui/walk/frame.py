"""The parts of the walk's screen, and what they show; `WalkScreen` adds the keys and asks the engine."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from llama_chat.chat.walking.place import WalkPlace
from llama_chat.drawing.views import Difference, Grid, Step, StepView, WalkFacts
from llama_chat.sanitize import one_line, sanitize
from llama_chat.ui.walk.picture_view import PictureView, is_of_pairs
from llama_chat.ui.walk.pictures import Picture, kind_of, pictures_of
from llama_chat.ui.walk.step_list import StepList
from llama_chat.ui.walk.token_line import TokenLine
from llama_chat.ui.walk.words import facts_words, lens_words, place_words, step_words
from llama_chat.ui.widgets.fitting import FittingLine

WIDE_CELLS = 110
_WIDTHS = [(0, "-flat"), (WIDE_CELLS, "-wide")]
_HEIGHTS = [(0, "-low"), (16, "-short"), (22, "-usual"), (30, "-roomy")]

_HINTS = (
    "↑ ↓ step · [ ] layer · , . head · x head off · X layer off · Tab map · v picture · t token · f head · "
    "e export · ? keys · Esc back",
    "↑ ↓ step · [ ] layer · , . head · x head off · Tab map · t token · ? keys · Esc back",
    "↑ ↓ step · [ ] layer · , . head · x off · Tab map · t token · ? keys · Esc",
    "↑ ↓ step · [ ] layer · , . head · x off · ? keys · Esc back",
    "↑ ↓ step · [ ] layer · , . head · ? keys · Esc",
    "↑ ↓ · [ ] · , . · ? keys · Esc",
)
_WAITING_HINTS = ("? all keys · Esc back", "Esc back")
"""Before there is a walk, no other key does anything."""
_TOKEN_HINTS = (
    "← → marks a token · Enter walks from it · f the head that looks most at it · Esc: as it was",
    "← → mark · Enter: from here · f head · Esc",
    "← → · Enter · f · Esc",
)
_MAP_HINTS = (
    "← → ↑ ↓ cursor · + - zoom · f the head that looks most there · v picture · Tab words · Esc back",
    "← → ↑ ↓ cursor · + - zoom · f head · v picture · Tab words · Esc",
    "arrows: cursor · + - · f · v · Tab · Esc",
)


class WalkFrame(Screen[None]):
    """Head, tokens, steps, picture, words, facts."""

    DEFAULT_CSS = """
    WalkFrame {
        background: $background;
        & #walk-head { height: 1; padding: 0 1; }
        & .walk-title { width: 1fr; text-style: bold; }
        & #walk-place { width: auto; }
        & TokenLine { padding: 0 1; }
        & #walk-body { height: 1fr; }
        & #walk-middle { width: 1fr; height: 1fr; padding: 0 1; }
        & .walk-picture-head { height: 1; color: $foreground 60%; }
        & StepList { height: 1; padding: 0 1; }
        & #walk-words { height: 7; padding: 0 1; border-left: outer $foreground 20%; }
        & #walk-words { scrollbar-size-vertical: 1; }
        & #walk-words:focus { border-left: outer $primary; }
        & #walk-said { width: 1fr; height: auto; }
        & .walk-lens { display: none; padding: 0 1; color: $foreground 80%; }
        & .walk-facts { padding: 0 1; color: $foreground 60%; }
        & .walk-hint { padding: 0 1; color: $foreground 50%; }
        & .walk-hint.-told { color: $text-warning; }
        &.-flat #walk-body { layout: vertical; }
        &.-wide #walk-body { layout: horizontal; }
        &.-wide StepList { width: 28; height: 1fr; padding: 1 1; }
        &.-wide #walk-middle { padding: 1 2; }
        &.-wide #walk-words { width: 36%; height: 1fr; margin: 1 1; padding: 0 2; }
        &.-roomy .walk-lens { display: block; }
        &.-short #walk-words { height: 4; }
        &.-low #walk-words { height: 3; }
        &.-low .walk-facts { display: none; }
        &.-low TokenLine { display: none; }
    }
    """
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS

    def __init__(self) -> None:
        super().__init__()
        self.place = WalkPlace()
        """Where one is."""
        self.view: StepView | None = None
        """The step that is shown."""
        self.all_labels: tuple[str, ...] = ()
        """Of the whole text; a walk may end before its end."""
        self.note = ""
        """What is to be known of the text."""
        self.picture_title = ""
        """What stands above the picture, or above the reason why there is none."""
        self._picture = 0
        self._lines = {
            part: FittingLine(words, classes=f"walk-{part}")
            for part, words in {
                "title": "Walk",
                "picture-head": "",
                "lens": "",
                "facts": "",
                "hint": "",
            }.items()
        }

    def compose(self) -> ComposeResult:
        """Head, tokens, steps, picture, words, facts, hint."""
        with Horizontal(id="walk-head"):
            yield self._lines["title"]
            yield Static("", id="walk-place")
        yield TokenLine()
        with Horizontal(id="walk-body"):
            yield StepList()
            with Vertical(id="walk-middle"):
                yield self._lines["picture-head"]
                yield PictureView()
            with VerticalScroll(id="walk-words"):
                yield Static("", id="walk-said")
        yield self._lines["lens"]
        yield self._lines["facts"]
        yield self._lines["hint"]

    def on_mount(self) -> None:
        """The keyboard goes to the steps; the hint follows it."""
        self.query_one(StepList).focus()
        self.watch(self, "focused", self.show_hint, init=False)

    @property
    def tokens(self) -> TokenLine:
        """The text."""
        return self.query_one(TokenLine)

    @property
    def picture(self) -> PictureView:
        """The picture of the step."""
        return self.query_one(PictureView)

    @property
    def is_wide(self) -> bool:
        """Whether steps and words stand beside the picture."""
        return self.app.size.width >= WIDE_CELLS

    def say(self, part: str, *wordings: str) -> None:
        """Have a line say something else; names of models and tokens may stand in it."""
        self._lines[part].say(*map(one_line, wordings))

    def show_hint(self) -> None:
        """The keys that count where the keyboard is; what was told in passing is over."""
        self._lines["hint"].remove_class("-told")
        of_focus = {TokenLine: _TOKEN_HINTS, PictureView: _MAP_HINTS}
        hints = of_focus.get(type(self.focused), _HINTS)  # type: ignore[arg-type]  # none: the steps'
        self.say("hint", *(hints if self.all_labels else _WAITING_HINTS))

    def tell(self, words: str) -> None:
        """Say something in passing, in the line of the keys."""
        self._lines["hint"].add_class("-told")
        self.say("hint", words)

    # --- what is shown ------------------------------------------------------------------------------------

    def show_place(self, steps: tuple[Step, ...], facts: WalkFacts) -> None:
        """Step, layer, head and token, at once: the numbers come when they are there."""
        self.query_one(StepList).show(steps, self.place.step)
        self.query_one("#walk-place", Static).update(
            place_words(steps[self.place.step], self.place, facts, is_wide=self.is_wide)
        )
        self.tokens.show(self.all_labels, self.place.position, self.place.target)

    def show_view(self, view: StepView) -> None:
        """The step's picture and words."""
        is_other = self.view is None or self.view.step != view.step
        self.view = view
        if is_other:
            self._picture = 0
        self.show_picture()
        self._show_words()
        if is_other:
            self.query_one("#walk-words", VerticalScroll).scroll_home(animate=False)

    def _show_words(self) -> None:
        words = step_words(self.view, has_title=self.is_wide) if self.view is not None else Content("")
        self.query_one("#walk-said", Static).update(words)

    def on_resize(self) -> None:
        """The words are longer where there is room."""
        if self.view is not None:
            self._show_words()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Those of the step."""
        return pictures_of(self.view) if self.view is not None else ()

    def show_picture(self, step: int = 0) -> None:
        """The picture that is so many further."""
        pictures = self.pictures
        if not pictures:
            self.picture.show(None)
            self.say("picture-head", "")
            return
        self._picture = (self._picture + step) % len(pictures)
        shown = pictures[self._picture]
        self.picture_title = shown.title
        self.picture.show(shown)
        if isinstance(shown, Grid) and is_of_pairs(shown):
            self.picture.put_cursor(self.place.position, self.place.target)
        self.say("picture-head", *self._picture_wordings(pictures, shown))

    def _picture_wordings(self, pictures: tuple[Picture, ...], shown: Picture) -> list[str]:
        other = pictures[(self._picture + 1) % len(pictures)]
        more = f" · {self._picture + 1} of {len(pictures)}, v: {kind_of(other)}" if len(pictures) > 1 else ""
        if not more:
            return [shown.title]
        place = f"{self._picture + 1}/{len(pictures)}"
        return [f"{shown.title}{more}", f"{shown.title} · {place} v", f"v {place} {shown.title}"]

    def show_facts(self, facts: WalkFacts, difference: Difference | None, altered: str = "") -> None:
        """The model, and how exact all of this is."""
        self.say("facts", *facts_words(facts, difference, " ".join(filter(None, (altered, self.note)))))

    def show_lens(self, view: StepView) -> None:
        """What each layer would say next."""
        self.say("lens", *lens_words(view))

    def show_trouble(self, title: str, words: str) -> None:
        """Instead of a picture: why there is none."""
        self.picture.show(None)
        self.picture_title = title
        self.say("picture-head", title)
        self.query_one("#walk-said", Static).update(Content(sanitize(words)))
