"""A replay drawn without a terminal: what one would have got, frame by frame, as fast as it can be drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from rich.console import Console
from textual import events
from textual.driver import Driver
from textual.geometry import Size

from llama_chat.errors import Interrupted, LlamaChatError
from llama_chat.replay import Player
from llama_chat.ui.replay.app import ReplayApp, ReplayLooks
from llama_chat.ui.replay.screen import FRAME_S

TICK_S = 1.0
"""The bar goes on at least so often, when nothing else happens."""
_POINTER = "\x1b]22;"
_LATE_S = 1e-6
"""Added to every wait: a sum of floats must not end right before the moment that it leads to."""


class KeepingDriver(Driver):
    """Takes no keys, and keeps what is written until it is taken."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # handed through as they came
        self._written: list[str] = []

    def write(self, data: str) -> None:
        """Keep it, but for the shape of a mouse pointer that is not there."""
        if not data.startswith(_POINTER):
            self._written.append(data)

    def take(self) -> str:
        """All that was written since the last call."""
        data = "".join(self._written)
        self._written.clear()
        return data

    def start_application_mode(self) -> None:
        """Say how large the screen is."""
        assert self._size is not None
        size = Size(*self._size)
        self._app.post_message(events.Resize(size, size))

    def stop_application_mode(self) -> None:
        """Nothing to give back."""

    def disable_input(self) -> None:
        """There is none."""


class RecordingApp(ReplayApp):
    """Plays the replay once, on a clock of its own, and hands out what is drawn."""

    def __init__(self, player: Player, looks: ReplayLooks, keep: Callable[[float, str], None]) -> None:
        super().__init__(player, looks, ticks=False, has_keys=False, driver=KeepingDriver)
        # The colours of the file must not depend on the terminal that it is made from.
        self.console = Console(
            color_system="truecolor",
            file=self.console.file,
            highlight=False,
            emoji=False,
            legacy_windows=False,
            force_terminal=True,
            safe_box=False,
        )
        self._notices = ()  # they are for the terminal
        self._player = player
        self._keep = keep
        self._cast_task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def on_ready(self) -> None:
        """Begin."""
        self._cast_task = asyncio.create_task(self._record_to_end())

    async def _record_to_end(self) -> None:
        try:
            await self._record()
        except Exception as error:  # no space for the file, and the like: told when the screen is closed
            self.failure = error
        self.exit()

    async def _record(self) -> None:
        at_s = 0.0
        self._player.play()
        self.replay_screen.go_on(at_s)
        await self._hand_out(at_s)
        while not self._player.is_at_end:
            at_s += max(FRAME_S, min(self._player.next_wait_s() + _LATE_S, TICK_S))
            self.replay_screen.go_on(at_s)
            await self._hand_out(at_s)

    async def _hand_out(self, at_s: float) -> None:
        """Wait until all is drawn, and hand it out."""
        for _ in range(2):  # what a first drawing lays out is drawn by a second one
            drawn = asyncio.Event()
            self.replay_screen.call_after_refresh(drawn.set)
            await drawn.wait()
        if data := cast(KeepingDriver, self._driver).take():
            self._keep(at_s, data)


def record_frames(
    player: Player, looks: ReplayLooks, size: tuple[int, int], keep: Callable[[float, str], None]
) -> None:
    """Play to the end, and call `keep` with the seconds on the watcher's clock and what is drawn then.

    Args:
        player: from where it stands, at its speed.
        looks: the theme.
        size: columns and lines.
        keep: is called in order; what it raises ends the recording and is raised here.

    Raises:
        Interrupted: Ctrl+C, or a signal.
    """
    app = RecordingApp(player, looks, keep)
    app.run(size=size)
    if app.failure is not None:
        raise app.failure
    if app.return_code == 1:  # a bug: Textual has shown it
        raise LlamaChatError("The replay could not be drawn.", hint="Please report the lines above.")
    if not player.is_at_end:
        raise Interrupted("Stopped; nothing was kept.")
