"""The application: theme, driver, signals and the first screen; the chat itself is decided elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.segment import Segments
from textual import events, on
from textual.app import App, ScreenStackError
from textual.binding import Binding, BindingType
from textual.filter import LineFilter, NoColor
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.timer import Timer

from llama_chat.paths import bundled_themes
from llama_chat.ui.bridge import Bridge
from llama_chat.ui.driver import driver_class
from llama_chat.ui.farewell import close_bridge, farewell
from llama_chat.ui.line_filter import SafeLineFilter
from llama_chat.ui.screens.chat import ChatScreen
from llama_chat.ui.setup import ChatSetup
from llama_chat.ui.themes import load_themes
from llama_chat.ui.view import NoticeKind
from llama_chat.ui.widgets.hint_line import HINT_S

FRAME_S = 1 / 30
"""The screen takes in what happened at most so often."""
SECOND_PRESS_S = 2.0
FALLBACK_THEME = "ember"
GC_THRESHOLDS = (5_000, 20, 50)
"""With the objects of the start frozen, the old need no collection; one of 5,000 young objects takes 2 ms, of
50,000 it takes 24 (2026-11-22), and a key waits for it."""

_NO_COLOUR = NoColor()


class ChatApp(App[None]):
    """Runs the chat.

    Args:
        setup: what the command line put together.
    """

    TITLE = "llama-chat"
    CSS_PATH = Path(__file__).parent / "screens" / "chat.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+c", "quit_on_second_press", "Quit", show=False),
    ]

    class Wake(Message):
        """Something waits in the bridge's queue."""

    def __init__(self, setup: ChatSetup) -> None:
        super().__init__(driver_class=driver_class())
        self.setup = setup
        self.bridge = Bridge(setup, self._wake)
        self._chat_screen = ChatScreen(setup, self.bridge)
        self._last_drain_s = 0.0
        self._drain_timer: Timer | None = None
        self._theme_notices = self._take_themes()
        self._safe_filter = SafeLineFilter()
        self._last_press_s = -SECOND_PRESS_S

    def get_default_screen(self) -> Screen[None]:
        """The chat."""
        return self._chat_screen

    @property
    def chat_screen(self) -> ChatScreen:
        """The chat, whatever is open over it."""
        return self._chat_screen

    def on_mount(self) -> None:
        """Catch the signals, and begin the work after the first paint."""
        self._catch_signals()
        self.app_resume_signal.subscribe(self, lambda _app: self.refresh(layout=True))
        self._chat_screen.call_after_refresh(self._after_first_paint)

    def _after_first_paint(self) -> None:
        self._chat_screen.start(self._theme_notices)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()

    # --- keys ---------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """What is typed while nothing has the focus, as at the start, goes straight to the prompt.

        Textual would send it by way of the screen, where keys that come after the focus overtake it: on a
        busy machine an Enter was there before its words, and nothing was sent (2026-11-22).
        """
        is_early = isinstance(event, events.Key) and not event.is_forwarded and self._has_no_focus
        if not (is_early and isinstance(event, events.Key) and self._chat_screen.take_early_key(event)):
            await super().on_event(event)

    @property
    def _has_no_focus(self) -> bool:
        try:
            return self.screen is self._chat_screen and self.focused is None
        except ScreenStackError:  # no screen is there yet
            return True

    # --- notes from other threads -------------------------------------------------------------------------

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks at the screen any more
            self.post_message(self.Wake())

    @on(Wake)
    def _drain_in_time(self) -> None:
        rest_s = self._last_drain_s + FRAME_S - time.monotonic()
        if rest_s <= 0:
            self._drain()
        elif self._drain_timer is None:
            self._drain_timer = self.set_timer(rest_s, self._drain)

    def _drain(self) -> None:
        self._drain_timer = None
        self._last_drain_s = time.monotonic()
        if self._chat_screen.is_mounted:
            self._chat_screen.drain()

    # --- looks ----------------------------------------------------------------------------------------------

    def _take_themes(self) -> tuple[str, ...]:
        """Register all themes and take the one of the settings; notices about what was not taken."""
        loaded = load_themes(bundled_themes(), self.setup.paths.user_themes)
        for theme in loaded.themes.values():
            self.register_theme(theme)
        wanted = self.setup.settings.chat.theme
        if wanted in self.available_themes:
            self.theme = wanted
            return loaded.notices
        self.theme = FALLBACK_THEME if FALLBACK_THEME in loaded.themes else self.theme
        return (
            *loaded.notices,
            f"There is no theme '{wanted}': {self.theme} is used. F9 shows what there is.",
        )

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, or none of its greys where no colour is wanted; and ours, which guards the terminal."""
        filters = [_NO_COLOUR] if self.no_color else super().get_line_filters()
        return [*filters, self._safe_filter]

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,  # noqa: ARG002  (Textual's; nothing is parsed)
    ) -> None:
        """Say it in the line above the prompt, from any thread: a toast would cover what is typed."""
        kind: NoticeKind = "info" if severity == "information" else severity
        text = f"{title}: {message}" if title else message
        self.call_later(self._chat_screen.hint, text, kind, seconds=timeout or HINT_S)

    # --- the end --------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        if self.is_headless or sys.platform == "win32":
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    def _fatal_error(self) -> None:
        """Textual's traceback prints local variables, and with them what was said in the chat."""
        from rich.traceback import Traceback

        trace = Traceback(show_locals=False, width=None)
        self._exit_renderables.append(Segments(self.console.render(trace, self.console.options)))
        self._close_messages_no_wait()

    def action_quit_on_second_press(self) -> None:
        """Leave, if it was asked for a moment ago already."""
        now_s = time.monotonic()
        if now_s - self._last_press_s < SECOND_PRESS_S:
            self.exit()
        else:
            self._last_press_s = now_s
            self._chat_screen.hint("Press Ctrl+C again to quit.", seconds=SECOND_PRESS_S)


def run_chat(setup: ChatSetup) -> int:
    """Run the chat until the user leaves; the exit code of the process."""
    gc.disable()  # until the first paint: 20 ms
    app = ChatApp(setup)
    try:
        app.run()
    finally:
        gc.enable()
        is_kept = close_bridge(app.bridge)
    farewell(app.chat_screen.chat.saved.session_id, is_kept=is_kept, has_unsent=bool(app.chat_screen.unsent))
    return app.return_code or (0 if is_kept else 1)
