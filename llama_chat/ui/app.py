"""The application: theme, driver, signals and the first screen; the chat itself is decided elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ScreenStackError
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.farewell import close_bridge, farewell
from llama_chat.chat.setup import ChatSetup
from llama_chat.chat.view import NoticeKind
from llama_chat.ui.driver import driver_class
from llama_chat.ui.rebinding import lay_over
from llama_chat.ui.safe_app import SafeApp
from llama_chat.ui.screens.chat import ChatScreen
from llama_chat.ui.theme_watch import ThemeWatch

if TYPE_CHECKING:
    from llama_chat.chat.chat import Chat

FRAME_S = 1 / 30
"""The screen takes in what happened at most so often."""
TYPING_FRAME_S = 1 / 12
"""And so often while somebody types: to draw new words takes 4 ms, and a key that comes then waits for it."""
TYPING_S = 0.5
"""Who pressed a key so short a time ago still types."""
SECOND_PRESS_S = 2.0
UNSAVED_PRESS_S = 10.0
NOT_SAVED = "Not everything is saved yet. Quit again to leave: the chat is then written to a file."
THEME_LOOK_S = 1.0
GC_THRESHOLDS = (5_000, 20, 50)
"""With the objects of the start frozen, the old need no collection; one of 5,000 young objects takes 2 ms, of
50,000 it takes 24 (2026-11-22), and a key waits for it."""


class ChatApp(SafeApp):
    """Runs the chat.

    Args:
        setup: what the command line put together.
    """

    TITLE = "llama-chat"
    CSS_PATH = Path(__file__).parent / "screens" / "chat.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+c", "quit_on_second_press", "Quit", show=False),
    ]

    class Wake(Message):
        """Something waits in the bridge's queue."""

    def __init__(self, setup: ChatSetup) -> None:
        super().__init__(driver_class(), setup.settings.chat.theme, setup.paths.user_themes)
        self.setup = setup
        self._copied_file = setup.paths.cache / self._copied_file.name
        self.bridge = Bridge(setup, self._wake)
        self._chat_screen = ChatScreen(setup, self.bridge)
        lay_over(self._bindings, self._chat_screen.keys)
        self._last_drain_s = self._last_key_s = 0.0
        self._is_drain_due = False
        self._last_press_s = -SECOND_PRESS_S
        self._last_quit_s = -UNSAVED_PRESS_S

    def get_default_screen(self) -> Screen[None]:
        """The chat."""
        return self._chat_screen

    @property
    def chat_screen(self) -> ChatScreen:
        """The chat, whatever is open over it."""
        return self._chat_screen

    def on_mount(self) -> None:
        """Begin the work after the first paint."""
        self._chat_screen.call_after_refresh(self._after_first_paint)

    def _after_first_paint(self) -> None:
        self._chat_screen.start(self.theme_notices)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        self._theme_watch = ThemeWatch(self.setup.paths.user_themes)
        self.set_interval(THEME_LOOK_S, self._look_at_themes)

    # --- keys ---------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """What is typed while nothing has the focus, as at the start, goes straight to the prompt.

        Textual would send it by way of the screen, where keys that come after the focus overtake it: on a
        busy machine an Enter was there before its words, and nothing was sent (2026-11-22).
        """
        if isinstance(event, events.Key):
            self._last_key_s = time.monotonic()
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
        now_s = time.monotonic()
        frame_s = TYPING_FRAME_S if now_s - self._last_key_s < TYPING_S else FRAME_S
        rest_s = self._last_drain_s + frame_s - now_s
        if rest_s <= 0:
            self._drain()
        elif not self._is_drain_due:
            # Not Textual's own timer: when the thread is held up between two of its lines it never ticks, and
            # the screen stood still for good (2 of 250 replies on busy cores; Textual 8.2.8, 2026-11-22).
            self._is_drain_due = True
            asyncio.get_running_loop().call_later(rest_s, self._drain_soon)

    def _drain_soon(self) -> None:
        self._is_drain_due = False
        self._wake()

    def _drain(self) -> None:
        self._last_drain_s = time.monotonic()
        if self._chat_screen.is_mounted:
            self._chat_screen.drain()

    # --- looks ----------------------------------------------------------------------------------------------

    def say_in_passing(self, text: str, kind: NoticeKind, seconds: float) -> None:
        """Say it in the line above the prompt."""
        self._chat_screen.hint(text, kind, seconds=seconds)

    def _look_at_themes(self) -> None:
        """Show the user's themes as they were saved; not while a reply is written, which comes first."""
        if self._chat_screen.chat.is_replying:
            return
        themes, notices = self._theme_watch.look()
        for theme in themes:
            self.register_theme(theme)
            if theme.name == self.theme:
                self.mutate_reactive(ChatApp.theme)
        for notice in notices:
            self._chat_screen.hint(notice, "warning")

    # --- the end --------------------------------------------------------------------------------------------

    async def action_quit(self) -> None:
        """Leave; what is not on the disk yet is asked about once."""
        now_s = time.monotonic()
        is_first = now_s - self._last_quit_s > UNSAVED_PRESS_S
        self._last_quit_s = now_s
        if is_first and not self._chat_screen.chat.status.is_saved:
            self._chat_screen.hint(NOT_SAVED, "warning", seconds=UNSAVED_PRESS_S)
        else:
            self.exit()

    def action_quit_on_second_press(self) -> None:
        """Leave, if it was asked for a moment ago already."""
        now_s = time.monotonic()
        if now_s - self._last_press_s < SECOND_PRESS_S:
            self.exit()
        else:
            self._last_press_s = now_s
            self._chat_screen.hint("Press Ctrl+C again to quit.", seconds=SECOND_PRESS_S)


def rescue_chat(chat: Chat) -> Path | None:
    """Where the open chat was written, since the store did not take all of it."""
    from llama_chat.chat.rescue import rescue

    chat.take_in_running()
    return rescue(chat.conversation, title=chat.title, model=chat.model_label, date=chat.saved.date)


def run_chat(setup: ChatSetup) -> int:
    """Run the chat until the user leaves; the exit code of the process."""
    gc.disable()  # until the first paint: 20 ms
    app = ChatApp(setup)
    try:
        app.run()
    finally:
        gc.enable()
        is_kept = close_bridge(app.bridge)
    chat = app.chat_screen.chat
    farewell(
        chat.saved.session_id,
        is_kept=is_kept,
        has_unsent=bool(app.chat_screen.unsent),
        rescued=None if app.bridge.are_words_kept else rescue_chat(chat),
    )
    return app.return_code or (0 if is_kept else 1)
