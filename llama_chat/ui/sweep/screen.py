"""The sweep: one prompt under a row of settings, side by side as the tokens come."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from llama_chat.chat.sweeping.run import SweepRun
from llama_chat.chat.sweeping.source import SweepSource
from llama_chat.conversation import new_seed
from llama_chat.distribution.told import told
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import Sampling, Token
from llama_chat.sanitize import sanitize
from llama_chat.sweep.columns import DEFAULT_VALUES, NEUTRAL, NEW_TOKENS, Variation, default_variation
from llama_chat.sweep.gathered import ColumnReply
from llama_chat.ui.screens.setting_changes import change_setting
from llama_chat.ui.sweep import words
from llama_chat.ui.sweep.column_view import ColumnView
from llama_chat.ui.tokens.candidate_bars import CandidateBars
from llama_chat.ui.widgets.fitting import FittingLine

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

FRAME_S = 0.1
"""What has come is shown so often: a column of words is read no faster."""
COLUMN_CELLS = 25
"""The narrowest column, with its bar and its margins."""
THIS_COLUMN = "this column makes of it"
_HEIGHTS = [(0, "-low"), (16, "-short"), (22, "-usual"), (36, "-roomy")]


class SweepScreen(Screen[None]):
    """Columns with a cursor over columns and tokens; below them what that token was drawn from.

    Args:
        chat: the chat's screen, whose sliders and engine are used.
        source: what every column answers.
    """

    DEFAULT_CSS = """
    SweepScreen {
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
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "stop_or_leave", "Back", show=False),
        Binding("left,shift+tab", "column(-1)", "Column before", show=False, priority=True),
        Binding("right,tab", "column(1)", "Next column", show=False, priority=True),
        Binding("up", "token(-1)", "Token before", show=False),
        Binding("down", "token(1)", "Next token", show=False),
        Binding("pageup", "token(-10)", "Ten tokens before", show=False),
        Binding("pagedown", "token(10)", "Ten tokens further", show=False),
        Binding("home", "token(-1000000)", "First token", show=False),
        Binding("end", "token(1000000)", "Last token", show=False),
        Binding("enter", "use", "Use these settings", show=False),
        Binding("v", "vary", "Vary another setting", show=False),
        Binding("n", "neutral", "Others neutral, or as the sliders", show=False),
        Binding("r", "again", "Another seed", show=False),
    ]

    def __init__(self, chat: ChatViewScreen, source: SweepSource) -> None:
        super().__init__()
        self.chat = chat
        self.source = source
        self.chosen = 0
        """The column under the cursor."""
        self.index = 0
        """The token under the cursor."""
        self._first_shown = 0
        self._follows = True
        self._is_neutral = False
        self._seed = chat.chat.seed if chat.chat.seed >= 0 else chat.chat.last_seed or new_seed()
        self._variation = default_variation()
        self.sweep = self._new_run()
        """What is shown."""
        names = ("title", "prompt", "status", "legend", "token", "hint")
        self._lines = {name: FittingLine("", classes=f"sweep-{name}") for name in names}
        self._following: asyncio.Task[None] | None = None
        self._shown_token: Token | None = None

    # --- the sweep ------------------------------------------------------------------------------------------

    @property
    def others(self) -> Sampling:
        """The settings that are not varied."""
        if self._is_neutral:
            return NEUTRAL
        return replace(self.chat.bridge.sampling.current, max_new_tokens=NEW_TOKENS)

    @property
    def is_computing(self) -> bool:
        """Whether there is more to come."""
        return self._following is not None and not self._following.done()

    def _new_run(self) -> SweepRun:
        return SweepRun(self.source, self._variation, self.others, self._seed)

    def _begin(self) -> None:
        """Give up what runs, and begin the sweep as it is wanted now."""
        self._give_up()
        self.sweep = self._new_run()
        self.chosen = min(self.chosen, len(self.sweep.columns) - 1)
        self.index, self._follows, self._shown_token = 0, True, None
        self._following = asyncio.ensure_future(self._follow(self.sweep))

    def _give_up(self) -> None:
        self.sweep.stop()
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, run: SweepRun) -> None:
        """Show what comes until nothing more does."""
        await self._mount_columns()
        future = asyncio.wrap_future(run.begin(self.chat.bridge.worker.compute))
        trouble = ""
        while not future.done():
            self._show()
            await asyncio.wait({future}, timeout=FRAME_S)
            run.take_in()
        try:
            future.result()
        except Interrupted:
            pass
        except LlamaChatError as error:
            trouble = sanitize(str(error))
        run.take_in()
        self._following, self._follows = None, False
        self._show()
        self._say_trouble(trouble or words.trouble_words(run))

    # --- the parts ------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Title, prompt, state, columns, what one token was drawn from, keys."""
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

    def on_mount(self) -> None:
        """Begin at once."""
        self._lines["prompt"].say(words.prompt_words(self.source.words))
        self._lines["legend"].say(*words.legend_words())
        self._begin()

    def on_unmount(self) -> None:
        """Give up what runs: the engine is wanted for replies."""
        self._give_up()

    async def _mount_columns(self) -> None:
        box = self.query_one("#sweep-columns")
        await box.remove_children()
        await box.mount(*(ColumnView(n, heading) for n, heading in enumerate(self._variation.headings())))
        self._first_shown = 0

    @property
    def heading(self) -> str:
        """Of the column under the cursor."""
        return self._variation.headings()[self.chosen]

    @property
    def reply(self) -> ColumnReply:
        """The column under the cursor."""
        return self.sweep.replies.columns[self.chosen]

    @property
    def token(self) -> Token | None:
        """The one under the cursor; None where the column has not said so much."""
        return self.reply.tokens[self.index] if self.index < len(self.reply.tokens) else None

    def on_resize(self) -> None:
        """As many columns as there is room for now."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        views = list(self.query(ColumnView))
        if not views or not self.is_mounted:
            return
        seen = words.visible_columns(
            self.chosen, len(views), self.size.width // COLUMN_CELLS, self._first_shown
        )
        self._first_shown = seen.start
        for view, reply in zip(views, self.sweep.replies.columns, strict=False):
            view.display = view.number in seen
            is_chosen = view.number == self.chosen
            view.show(reply, is_chosen=is_chosen, cursor=self.index, follows=self._follows)
        place = f"  column {self.chosen + 1} of {len(views)}" if len(seen) < len(views) else ""
        self.query_one("#sweep-place", Static).update(Content(place))
        self._lines["title"].say(
            *words.title_words(self._variation, self.others, is_neutral=self._is_neutral)
        )
        self._show_status()
        self._show_token()

    def _show_status(self) -> None:
        if not self.has_class("-troubled"):
            is_replying = self.chat.chat.is_replying
            has_begun = self.sweep.info is not None
            self._lines["status"].say(
                *words.status_words(
                    self.sweep, is_running=self.is_computing, is_replying=is_replying, has_begun=has_begun
                )
            )
        self._lines["hint"].say(*words.hint_words(self.heading, is_running=self.is_computing))

    def _say_trouble(self, trouble: str) -> None:
        self.set_class(bool(trouble), "-troubled")
        self._lines["status"].set_class(bool(trouble), "-trouble")
        if trouble:
            self._lines["status"].say(trouble)

    def _show_token(self) -> None:
        token, names = self.token, self.sweep.names
        name = names.quoted(token.token_id) if token is not None else ""
        self._lines["token"].say(*words.token_words(token, name, self.index, self.heading))
        if token is self._shown_token and token is not None:
            return
        self._shown_token = token
        bars, told_line = self.query_one(CandidateBars), self.query_one("#sweep-told", Static)
        if token is None:
            bars.show_nothing()
            told_line.update("")
            return
        bars.show(token.candidates, token.sampling, names, token.token_id, what=THIS_COLUMN)
        sentence = told(bars.bars, token.sampling, token.token_id, names.quoted)
        told_line.update(Content(sanitize(sentence)))

    # --- the keys -------------------------------------------------------------------------------------------

    def action_column(self, step: int) -> None:
        """Another column, at the same token."""
        self._go_to((self.chosen + step) % len(self.sweep.columns), self.index)

    def action_token(self, step: int) -> None:
        """Another token of the column."""
        last = max(0, len(self.reply.tokens) - 1)
        self._follows = False
        self._go_to(self.chosen, min(max(self.index + step, 0), last))

    def _go_to(self, chosen: int, index: int) -> None:
        self.chosen, self.index = chosen, index
        self._show()

    @on(ColumnView.Clicked)
    def _take_click(self, event: ColumnView.Clicked) -> None:
        event.stop()
        if event.index is not None:
            self._follows = False
        self._go_to(event.number, self.index if event.index is None else event.index)

    def action_stop_or_leave(self) -> None:
        """Stop what runs and keep what is there; else go back to the chat."""
        if self.is_computing and not self.sweep.is_stopped and self.sweep.replies.prefilled is not None:
            self.sweep.stop()
        else:
            self.dismiss(None)

    def action_use(self) -> None:
        """Set the sliders as the column had them, and go back."""
        column = self.sweep.columns[self.chosen]
        taken = words.changes(column, self.chat.bridge.sampling.current, self._variation)
        for name, value in taken.items():
            change_setting(self.chat, name, value)
        self.chat.hint(words.taken_words(taken))
        self.dismiss(None)

    def action_vary(self) -> None:
        """Choose what is varied."""
        from llama_chat.ui.screens.pick import PickScreen

        def take(name: str | None) -> None:
            if name is not None and name != self._variation.name:
                self.vary(default_variation(name))

        items = [words.vary_item(name) for name in DEFAULT_VALUES]
        self.app.push_screen(PickScreen("Vary", items, marked=self._variation.name), take)

    def vary(self, variation: Variation) -> None:
        """Sweep over these values."""
        self._variation = variation
        self._restart()

    def action_neutral(self) -> None:
        """The settings that are not varied: so that they do nothing, or as the sliders have them."""
        self._is_neutral = not self._is_neutral
        self._restart()

    def action_again(self) -> None:
        """The same with another seed."""
        self._seed = new_seed()
        self._restart()

    def _restart(self) -> None:
        self._say_trouble("")
        self._begin()
