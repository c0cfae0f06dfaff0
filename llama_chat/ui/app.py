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
from llama_chat.sanitize import sanitize
from llama_chat.ui.driver import driver_class, hear_keys
from llama_chat.ui.key_watch import KeyWatch
from llama_chat.ui.pacing import FrameBudget
from llama_chat.ui.rebinding import laid_over
from llama_chat.ui.safe_app import SafeApp
from llama_chat.ui.screens.chat import SECOND_PRESS_S, ChatScreen
from llama_chat.ui.theme_watch import ThemeWatch
from llama_chat.ui.warm_up import WarmUp

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llama_chat.chat.chat import Chat

FRAME_S = 1 / 30
"""The screen takes in what happened at most so often."""
LONGEST_FRAME_S = 1 / 8
"""And so often while somebody types, or where the processor computes the model, too, and frames would take
more than their share of it: while one is drawn the model stands still, and a key waits."""
FRAME_SHARE = 0.03
TYPING_S = 0.5
"""Who pressed a key so short a time ago still types."""
UNSAVED_PRESS_S = 10.0
NOT_SAVED = "Not everything is saved yet. Quit again to leave: the chat is then written to a file."
THEME_LOOK_S = 1.0
FIRST_KEY_S = 0.03
"""The model is loaded so much after the first paint: a key that waits by then need not compete with it."""
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
        self._own_bindings = self._bindings
        self._take_keys()
        self._last_drain_s = self._last_key_s = 0.0
        self._budget = FrameBudget(FRAME_SHARE, FRAME_S, LONGEST_FRAME_S)
        self._is_key_to_paint = False
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
        hear_keys(self._driver, self.bridge.worker.gate.close)

    def _after_first_paint(self) -> None:
        """Let a key that waits already be echoed; then all else begins."""
        asyncio.get_running_loop().call_later(FIRST_KEY_S, self._begin)

    def _begin(self) -> None:
        if not self.is_running:  # whoever left at once
            return
        self._chat_screen.start(self.theme_notices)
        gc.freeze()  # without a collection: 35 ms for 4,000 small objects (2026-11-22)
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        WarmUp(self._is_somebody_typing).start()
        self._theme_watch = ThemeWatch(self.setup.paths.user_themes)
        self._key_watch = KeyWatch(self.setup.paths.settings_file, self.setup.notices)
        self.set_interval(THEME_LOOK_S, self._look_at_themes)

    # --- keys ---------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """What is typed while no prompt has the focus, as at the start, goes to the chat's screen at once.

        Textual would send it by way of the screen, where keys that come after the focus overtake it: on a
        busy machine an Enter was there before its words, and nothing was sent (2026-11-22).
        """
        if isinstance(event, events.Key):
            self._last_key_s = time.monotonic()
        is_new = isinstance(event, events.Key) and not event.is_forwarded and self._is_at_chat
        if not (is_new and isinstance(event, events.Key) and await self._chat_screen.take_key(event)):
            await super().on_event(event)
        self._is_key_to_paint |= isinstance(event, events.Key)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Paint; then the model goes on, which rests while a key is echoed."""
        super()._display(screen, renderable)
        if self._is_key_to_paint and renderable is not None:
            self._is_key_to_paint = False
            self.bridge.worker.gate.open()

    @property
    def _is_at_chat(self) -> bool:
        try:
            return self.screen is self._chat_screen
        except ScreenStackError:  # no screen is there yet
            return True

    # --- notes from other threads -------------------------------------------------------------------------

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks at the screen any more
            self.post_message(self.Wake())

    @on(Wake)
    def _drain_in_time(self) -> None:
        now_s = time.monotonic()
        rest_s = self._last_drain_s + self._frame_s() - now_s
        if rest_s <= 0 or self.bridge.has_end:
            self._drain()
        elif not self._is_drain_due:
            # Not Textual's own timer: when the thread is held up between two of its lines it never ticks, and
            # the screen stood still for good (2 of 250 replies on busy cores; Textual 8.2.8, 2026-11-22).
            self._is_drain_due = True
            asyncio.get_running_loop().call_later(rest_s, self._drain_soon)

    def _is_somebody_typing(self) -> bool:
        return time.monotonic() - self._last_key_s < TYPING_S

    def _drain_soon(self) -> None:
        self._is_drain_due = False
        self._wake()

    def _frame_s(self) -> float:
        """Seconds from one frame to the next."""
        if self._is_somebody_typing():
            return LONGEST_FRAME_S
        is_shared = self._chat_screen.chat.is_replying and not self._is_on_gpu
        return self._budget.frame_s if is_shared else FRAME_S

    @property
    def _is_on_gpu(self) -> bool:
        """Whether the model leaves the processor to the screen."""
        info = self._chat_screen.chat.info
        return info is not None and info.device != "cpu"

    def _drain(self) -> None:
        self._last_drain_s = time.monotonic()
        if self._chat_screen.chat.is_replying:
            self._budget.frame()
        else:
            self._budget.rest()
        self.bridge.recorder.frame_s = self._frame_s()  # what is not painted yet need not be kept yet
        if self._is_somebody_typing():
            self.bridge.worker.gate.close()
            self._is_key_to_paint = True
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
        self._look_at_keys()
        themes, notices = self._theme_watch.look()
        for theme in themes:
            self.register_theme(theme)
            if theme.name == self.theme:
                self.mutate_reactive(ChatApp.theme)
        for notice in notices:
            self._chat_screen.hint(notice, "warning")

    # --- keys that are given anew ---------------------------------------------------------------------------

    @on(ChatScreen.KeysChanged)
    def _take_keys(self) -> None:
        self._bindings = laid_over(self._own_bindings, self._chat_screen.keys)

    def _look_at_keys(self) -> None:
        """Let keys count that were written into the settings file."""
        screen = self._chat_screen
        if screen.are_keys_being_saved or (look := self._key_watch.look()) is None:
            return
        told, wishes = look.notices, look.wishes
        if {w.action: w.keys for w in wishes} != {w.action: w.keys for w in screen.settings.keys}:
            screen.take_keys(wishes)
            told += screen.keys.notices
        for notice in told:
            screen.notice(sanitize(notice), "warning")

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
    app = ChatApp(setup)
    try:
        app.run()
    finally:
        is_kept = close_bridge(app.bridge)
    chat = app.chat_screen.chat
    farewell(
        chat.saved.session_id,
        is_kept=is_kept,
        has_unsent=bool(app.chat_screen.unsent),
        rescued=None if app.bridge.are_words_kept else rescue_chat(chat),
    )
    return app.return_code or (0 if is_kept else 1)
