"""The parts of the sweep's screen, and what they show; `SweepScreen` adds the keys and asks the engine."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from llama_chat.distribution.names import TokenNames
from llama_chat.distribution.told import told
from llama_chat.events import Token
from llama_chat.sanitize import sanitize
from llama_chat.sweep.gathered import ColumnReply
from llama_chat.ui.sweep import words
from llama_chat.ui.sweep.column_view import ColumnView
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.widgets.fitting import FittingLine

COLUMN_CELLS = 25
"""The narrowest column, with its bar and its margins."""
THIS_COLUMN = "this column makes of it"
_HEIGHTS = [(0, "-low"), (16, "-short"), (22, "-usual"), (36, "-roomy")]


class SweepFrame(Screen[None]):
    """Title, prompt, state, columns, what one token was drawn from, keys."""

    DEFAULT_CSS = """
    SweepFrame {
        background: $background;
        & .sweep-title { text-style: bold; padding: 0 1; }
        & #sweep-head { height: 1; padding: 0 1; }
        & .sweep-prompt { width: 1fr; color: $foreground 80%; }
        & #sweep-place { width: auto; color: $foreground 60%; }
        & .sweep-status { padding: 0 1; color: $foreground 60%; }
        & .sweep-status.-trouble { color: $text-error; }
        & #sweep-columns { height: 1fr; padding: 1 0 0 0; }
        & #sweep-panel { height: 8; padding: 0 1; background: $surface; }
        & .sweep-token { text-style: bold; }
        & .sweep-token, & #sweep-told { background: $surface; }
        & #sweep-panel CandidateBars { height: 1fr; background: $surface; }
        & #sweep-told { height: auto; max-height: 2; color: $foreground 80%; }
        & .sweep-hint { padding: 0 1; color: $foreground 50%; }
        & .sweep-legend { display: none; padding: 0 2; color: $foreground 50%; }
        &.-roomy .sweep-legend { display: block; margin-bottom: 1; }
        &.-low #sweep-panel { display: none; }
        &.-low #sweep-columns { padding: 0; }
        &.-low .sweep-status { display: none; }
        &.-low.-troubled .sweep-status { display: block; }
        &.-short #sweep-panel { height: 5; }
        &.-short #sweep-columns { padding: 0; }
        &.-roomy #sweep-panel { height: 16; padding: 1 1; }
    }
    """
    VERTICAL_BREAKPOINTS = _HEIGHTS

    def __init__(self) -> None:
        super().__init__()
        names = ("title", "prompt", "status", "legend", "token", "hint")
        self._lines = {name: FittingLine("", classes=f"sweep-{name}") for name in names}
        self._said: dict[str, str] = {}
        self._first_shown = 0
        self._shown_token: Token | None = None

    def compose(self) -> ComposeResult:
        """All of them."""
        yield self._lines["title"]
        with Horizontal(id="sweep-head"):
            yield self._lines["prompt"]
            yield Static("", id="sweep-place")
        yield self._lines["status"]
        yield Horizontal(id="sweep-columns")
        yield self._lines["legend"]
        with Vertical(id="sweep-panel"):
            yield self._lines["token"]
            bars = CandidateBars(id="sweep-bars")
            bars.can_focus = False
            yield bars
            yield Static("", id="sweep-told")
        yield self._lines["hint"]

    async def mount_columns(self, headings: Sequence[str]) -> None:
        """Columns with these headings, in the place of those that are there."""
        box = self.query_one("#sweep-columns")
        await box.remove_children()
        await box.mount(*(ColumnView(number, heading) for number, heading in enumerate(headings)))
        self._first_shown = 0

    def say(self, part: str, *wordings: str) -> None:
        """Have a line say something else."""
        self._lines[part].say(*wordings)

    def say_trouble(self, trouble: str) -> None:
        """In the place of the state: what went wrong; empty for nothing."""
        self.set_class(bool(trouble), "-troubled")
        self._lines["status"].set_class(bool(trouble), "-trouble")
        if trouble:
            self.say("status", trouble)

    def show_columns(self, replies: Sequence[ColumnReply], *, chosen: int, index: int, follows: bool) -> None:
        """What each says, in as many columns as there is room for."""
        views = list(self.query(ColumnView))
        if not views:
            return
        most = self.size.width // COLUMN_CELLS
        seen = words.visible_columns(chosen, len(views), most, self._first_shown)
        self._first_shown = seen.start
        for view, reply in zip(views, replies, strict=False):
            view.display = view.number in seen
            view.show(reply, is_chosen=view.number == chosen, cursor=index, follows=follows)
        self._update(
            "#sweep-place", f"  column {chosen + 1} of {len(views)}" if len(seen) < len(views) else ""
        )

    def show_token(self, token: Token | None, names: TokenNames) -> None:
        """What it was drawn from."""
        if token is self._shown_token:
            return
        self._shown_token = token
        bars = self.query_one(CandidateBars)
        if token is None:
            bars.show_nothing()
            self._update("#sweep-told", "")
            return
        bars.show(token.candidates, token.sampling, names, token.token_id, what=THIS_COLUMN)
        sentence = told(bars.bars, token.sampling, token.token_id, names.quoted)
        self._update("#sweep-told", sanitize(sentence))

    def _update(self, part: str, text: str) -> None:
        """The same text again would lay the whole screen out anew."""
        if self._said.get(part, "") != text:
            self._said[part] = text
            self.query_one(part, Static).update(Content(text))
