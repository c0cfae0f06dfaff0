"""The list at work: it asks the engine, shades the transcript, and goes where its cursor goes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.content import Content

from llama_chat.chat.looking import EXPLAINED, WAYS, Looking, Looks, Way
from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.ui.looks.panel import LooksPanel
from llama_chat.ui.transcript.looking import LOOK_LEVELS, LookMark

if TYPE_CHECKING:
    from llama_chat.ui.screens.chat_view import ChatViewScreen

PATIENCE_S = 0.15
"""What comes sooner needs no word that it is being computed."""
LEAST_SHADED = 1 / LOOK_LEVELS**2
"""Of the largest share: with half of the attention spread over thousands of tokens, all would be shaded."""
WAITS = "The reply that is written comes first; then it is looked at."
LOOKING = "Looking …"


class LooksSheet(LooksPanel):
    """Shows where the tokens of one reply looked.

    Args:
        chat: the screen below which it stands.
        looking: asks the engine.
        message_id: of the reply.
        index: of the token to begin with.
        way: to measure and show it.
    """

    def __init__(self, chat: ChatViewScreen, looking: Looking, message_id: str, index: int, way: Way) -> None:
        super().__init__()
        self._chat, self._looking = chat, looking
        self.message_id = message_id
        self.index, self.way = index, way
        self._asked = 0
        """How often; what is answered to an earlier question is passed over."""
        self._fraction = 0.0
        """How much of the last one is done."""
        self._patience: asyncio.TimerHandle | None = None

    def on_mount(self) -> None:
        """Ask at once."""
        self._ask_engine()
        self.focus()

    def on_unmount(self) -> None:
        """Give up what is asked."""
        self._asked += 1
        self._stop_patience()
        self._looking.close()

    @on(LooksPanel.Left)
    def leave(self) -> None:
        """Take the list and the shades away."""
        self._chat.transcript.end_looks()
        self._chat.focus_home()
        self.remove()

    # --- asking ---------------------------------------------------------------------------------------

    def _ask_engine(self) -> None:
        self._asked += 1
        self._fraction = 0.0
        self._stop_patience()
        self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._lose_patience)
        self.run_worker(self._answer(self._asked), exit_on_error=True)

    async def _answer(self, asked: int) -> None:
        loop = asyncio.get_running_loop()

        def report(fraction: float) -> None:
            loop.call_soon_threadsafe(self._report, asked, fraction)

        future = asyncio.wrap_future(self._looking.ask(self.index, self.way, report))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait then
        try:
            looks = await asyncio.shield(future)  # a future that is cancelled could not take the result
        except LlamaChatError as error:
            if asked == self._asked:
                self._stop_patience()
                if not isinstance(error, Interrupted):
                    self.say(str(error), is_trouble=True)
            return
        if asked == self._asked:
            self._stop_patience()
            self.show(looks)
            self._shade()
            self.call_after_refresh(self._go_to_token, looks)  # the list takes rows of the view at first

    def _report(self, asked: int, fraction: float) -> None:
        if asked == self._asked:
            self._fraction = fraction
            if self._patience is None:
                self._say_what_it_is_at()

    def _lose_patience(self) -> None:
        self._patience = None
        self._say_what_it_is_at()

    def _say_what_it_is_at(self) -> None:
        done = f" {self._fraction:.0%}" if self._fraction else ""
        self.say(WAITS if self._chat.chat.is_replying else LOOKING + done)

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    @on(LooksPanel.TokenWanted)
    def _ask_about_token(self, event: LooksPanel.TokenWanted) -> None:
        event.stop()
        self._ask_engine()

    @on(LooksPanel.OwnRowWanted)
    def _ask_about_row(self, event: LooksPanel.OwnRowWanted) -> None:
        event.stop()
        self._take(replace(self.way, is_own_row=not self.way.is_own_row))

    @on(LooksPanel.MenuWanted)
    def _open_menu(self, event: LooksPanel.MenuWanted) -> None:
        event.stop()
        from llama_chat.ui.screens.pick import PickScreen
        from llama_chat.ui.widgets.filter_list import Item

        def take(chosen: str | None) -> None:
            way = next((way for way in WAYS if way.label == chosen), None)
            if way is not None:
                self._take(replace(way, is_own_row=self.way.is_own_row))

        items = [
            Item(way.label, Content(way.label), way.label, group=explained(way), name=way.label)
            for way in WAYS
        ]
        marked = replace(self.way, is_own_row=False).label
        self.app.push_screen(PickScreen("Where it looked: the measure", items, marked=marked), take)

    def _take(self, way: Way) -> None:
        self.way = way
        if self.looks is not None and self.index == self.looks.index:
            shown = self._looking.shown_otherwise(self.looks, way)
            if shown is not None:
                self.show(shown)
                self._shade()
                return
        self._ask_engine()

    # --- the transcript -------------------------------------------------------------------------------

    @on(LooksPanel.Moved)
    def _go_to_source(self, event: LooksPanel.Moved) -> None:
        event.stop()
        self._shade()
        source = event.looked.source
        if source.message_id is not None:
            self._chat.transcript.go_to_text(source.message_id, source.start, source.end)

    def _go_to_token(self, looks: Looks) -> None:
        source = looks.context.sources[looks.context.position(looks.index)]
        if source.message_id is not None:
            self._chat.transcript.go_to_text(source.message_id, source.start, source.end)

    def _shade(self) -> None:
        if self.looks is not None:
            chosen = self.chosen
            marks = marks_of(self.looks, chosen.position if chosen is not None else -1)
            self._chat.transcript.show_looks(marks)


def explained(way: Way) -> str:
    """What is measured, as a heading of the menu."""
    return f"{way.measure}: {EXPLAINED[way.measure]}"


def marks_of(looks: Looks, chosen: int = -1) -> dict[str, list[LookMark]]:
    """What is shaded in each message: the tokens that were looked at, and the one that is asked about.

    Args:
        looks: where it looked.
        chosen: position of the source that the list's cursor is on.
    """
    shares, sources = looks.shares, looks.context.sources
    # The first token is no measure of the others: where it is shown, it would make all of them pale.
    most = max((share for n, share in enumerate(shares) if n > looks.left_out), default=0.0)
    marks: dict[str, list[LookMark]] = {}
    for position, share in enumerate(shares):
        source = sources[position]
        if source.message_id is None or most <= 0 or share < most * LEAST_SHADED:
            continue
        level = math.ceil(LOOK_LEVELS * math.sqrt(min(1.0, share / most))) - 1
        mark = LookMark(source.start, source.end, level, position == chosen)
        marks.setdefault(source.message_id, []).append(mark)
    asked = sources[looks.context.position(looks.index)]
    if asked.message_id is not None:
        marks.setdefault(asked.message_id, []).append(LookMark(asked.start, asked.end, -1))
    return marks
