"""The sweep: one prompt under a row of settings, side by side as the tokens come."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from llama_chat.chat.sweeping.run import SweepRun
from llama_chat.chat.sweeping.source import SweepSource
from llama_chat.conversation import new_seed
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.events import Sampling, Token
from llama_chat.sanitize import sanitize
from llama_chat.sweep.columns import DEFAULT_VALUES, NEUTRAL, NEW_TOKENS, Variation, default_variation
from llama_chat.sweep.gathered import ColumnReply
from llama_chat.ui.pacing import FrameBudget
from llama_chat.ui.screens.setting_changes import change_setting
from llama_chat.ui.sweep import words
from llama_chat.ui.sweep.column_view import ColumnView
from llama_chat.ui.sweep.frame import SweepFrame

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

FRAME_S = 0.1
"""What has come is shown so often: a column of words is read no faster."""
LONGEST_FRAME_S = 0.5
FRAME_SHARE = 0.1
"""Of the processor's time, for showing: the engine computes beside it."""


class SweepScreen(SweepFrame):
    """Columns with a cursor over columns and tokens; below them what that token was drawn from.

    Args:
        chat: the chat's screen, whose sliders and engine are used.
        source: what every column answers.
    """

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
        self._follows = True
        self._is_neutral = False
        self._seed = chat.chat.seed if chat.chat.seed >= 0 else chat.chat.last_seed or new_seed()
        self._variation = default_variation()
        self.sweep = self._new_run()
        """What is shown."""
        self._following: asyncio.Task[None] | None = None

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

    @property
    def _can_stop(self) -> bool:
        """Whether there is something that a stop would keep."""
        has_begun = self.sweep.replies.prefilled is not None
        return self.is_computing and has_begun and not self.sweep.is_stopped

    def _new_run(self) -> SweepRun:
        return SweepRun(self.source, self._variation, self.others, self._seed)

    def _begin(self) -> None:
        """Give up what runs, and begin the sweep as it is wanted now."""
        self._give_up()
        self.sweep = self._new_run()
        self.chosen = min(self.chosen, len(self.sweep.columns) - 1)
        self.index, self._follows = 0, True
        self._following = asyncio.ensure_future(self._follow(self.sweep))

    def _give_up(self) -> None:
        self.sweep.stop()
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, run: SweepRun) -> None:
        """Show what comes until nothing more does."""
        await self.mount_columns(self._variation.headings())
        future = asyncio.wrap_future(run.begin(self.chat.bridge.worker.compute))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it
        trouble = ""
        budget = FrameBudget(FRAME_SHARE, FRAME_S, LONGEST_FRAME_S)
        self._show()
        while not future.done():
            await asyncio.wait({future}, timeout=budget.frame_s)
            if run.take_in():
                budget.frame()
                self._show()
            else:
                budget.rest()
                self._show_status()
        try:
            future.result()
        except Interrupted:
            pass
        except LlamaChatError as error:
            trouble = sanitize(str(error))
        run.take_in()
        self._following, self._follows = None, False
        self._show()
        self.say_trouble(trouble or words.trouble_words(run))

    # --- what is shown --------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Begin at once."""
        self.say("prompt", words.prompt_words(self.source.words))
        self.say("legend", *words.legend_words())
        self._begin()

    def on_unmount(self) -> None:
        """Give up what runs: the engine is wanted for replies."""
        self._give_up()

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
        if not self.is_mounted:
            return
        self.show_columns(
            self.sweep.replies.columns, chosen=self.chosen, index=self.index, follows=self._follows
        )
        self.say("title", *words.title_words(self._variation, self.others, is_neutral=self._is_neutral))
        self._show_status()
        token, names = self.token, self.sweep.names
        name = names.quoted(token.token_id) if token is not None else ""
        self.say("token", *words.token_words(token, name, self.index, self.heading))
        self.show_token(token, names)

    def _show_status(self) -> None:
        if not self.has_class("-troubled"):
            is_replying, has_begun = self.chat.chat.is_replying, self.sweep.info is not None
            said = words.status_words(
                self.sweep, is_running=self._can_stop, is_replying=is_replying, has_begun=has_begun
            )
            self.say("status", *said)
        self.say("hint", *words.hint_words(self.heading, is_running=self._can_stop))

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
        if self._can_stop:
            self.sweep.stop()
        elif self.is_current:
            self.dismiss(None)

    def action_use(self) -> None:
        """Set the sliders as the column had them, and go back."""
        if not self.is_current:
            return
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
        self.say_trouble("")
        self._begin()
