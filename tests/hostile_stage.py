"""The running chat, to which hostile texts are handed, and what is needed to hand them."""

from __future__ import annotations

import contextlib
import fcntl
import struct
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Iterator

from hostile_text import HostileTexts
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen

from llama_chat.conversation import Message, Reply, Role, new_id
from llama_chat.events import Sampling
from llama_chat.ui.app import ChatApp
from llama_chat.ui.screens.chat import ChatScreen

ROWS = 80
"""So many texts fit on the screen at once."""
ESCAPES, ESCAPE_S = 30, 2.0
"""So often Esc is pressed to leave a card, each time after so long."""


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

    async def press(self, *keys: str) -> None:
        """Press the keys, and let everything that follows at once be painted.

        Not the pilot's, which waits twice for an idle processor: 40 ms a key and more (2026-11-22).
        """
        for key in keys:
            name = {"/": "slash"}.get(key, key)
            self.app.post_message(events.Key(name, key if len(key) == 1 else None))
            await self.frame()

    async def resize(self, columns: int, rows: int) -> None:
        """Another size of the terminal: a large one holds many texts, but a card takes long to draw on it."""
        if (columns, rows) != self.app.size:
            fcntl.ioctl(sys.__stderr__, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))  # type: ignore[arg-type]
            await self.until(lambda: self.app.size == (columns, rows), "the new size")
            await self.frame()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        end_s = time.monotonic() + 60
        while not condition():
            is_late = time.monotonic() > end_s or (self.app._exception is not None and what != "the crash")
            assert not is_late, f"{self.place}: {what} never came"
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
        await self.leave(screen)

    async def leave(self, screen: Screen[object]) -> None:  # type: ignore[misc]
        """Press Esc until the card is gone: one that came at the same time may have taken the first."""
        for _ in range(ESCAPES):
            end_s = time.monotonic() + ESCAPE_S
            while screen.is_current and time.monotonic() < end_s:
                await self.pilot.pause(0.005)
            if not screen.is_current:
                return
            await self.press("escape")
        raise AssertionError(f"{self.place}: {screen} never ended")

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
    while (card := stage.app.screen) is not stage.chat:
        await stage.press("escape")
        await stage.leave(card)


RUNS: list[str] = []
"""What the engine answers next."""
