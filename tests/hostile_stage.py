"""The running chat, to which hostile texts are handed, and what is needed to hand them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

from hostile_text import HostileTexts
from textual.pilot import Pilot
from textual.screen import Screen

from llama_chat.conversation import Message, Reply, Role, new_id
from llama_chat.events import Sampling
from llama_chat.ui.app import ChatApp
from llama_chat.ui.screens.chat import ChatScreen

ROWS = 80
"""So many texts fit on the screen at once."""


class Stage:
    """The running chat, and the texts."""

    def __init__(self, app: ChatApp, pilot: Pilot[None], texts: HostileTexts) -> None:
        self.app, self.pilot, self.texts = app, pilot, texts
        self.place = ""

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat_screen

    def take(self, cells: int = 60) -> str:
        return self.texts.take(self.place, cells=cells)

    def lines(self, count: int, cells: int = 60) -> list[str]:
        return self.texts.lines(self.place, count, cells=cells)

    def batches(self, count: int, most: int = ROWS, cells: int = 60) -> Iterator[list[str]]:
        """So many texts, a screen of them at a time."""
        while count > 0:
            yield self.lines(min(count, most), cells)
            count -= most

    async def frame(self) -> None:
        """Let everything that has changed be painted."""
        await self.pilot.pause(0)
        await self.pilot.pause(0)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        end_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end_s, f"{self.place}: {what} never came"
            await self.pilot.pause(0.005)

    @contextlib.asynccontextmanager
    async def card(self, screen: Screen[object]) -> Iterator[None]:  # type: ignore[misc]
        """The card is open meanwhile."""
        self.app.push_screen(screen)
        await self.until(lambda: screen.is_current and screen.is_mounted, "the card")
        await self.frame()
        yield
        await self.frame()
        if screen.is_current:
            screen.dismiss(None)
        await self.until(lambda: not screen.is_current, "the end of the card")

    async def show(self, *messages: Message) -> None:
        self.chat.show_path(messages)
        await self.frame()


Place = Callable[[Stage, int], Awaitable[None]]


def user(text: str) -> Message:
    return Message(new_id(), None, Role.USER, text, 1.0)


def reply(text: str, *, model: str = "model", reason: str | None = "end", error: str = "") -> Message:
    made = Reply(7, Sampling(), model, tuple(range(5)), reason, error, 10, 0, 0.1, 0.1)  # type: ignore[arg-type]
    return Message(new_id(), None, Role.ASSISTANT, text, 1.0, made)


async def close_cards(stage: Stage) -> None:
    while stage.app.screen is not stage.chat:
        before = stage.app.screen
        await stage.pilot.press("escape")
        await stage.until(lambda before=before: stage.app.screen is not before, "the end of a card")


RUNS: list[str] = []
"""What the engine answers next."""
