"""What every application of the program shares: the user's theme, two lines of defence, a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.segment import Segment, Segments
from textual import constants, events
from textual.app import App
from textual.driver import Driver
from textual.filter import LineFilter, NoColor
from textual.notifications import SeverityLevel
from textual.widget import Widget

from llama_chat.chat.view import NoticeKind
from llama_chat.errors import LlamaChatError
from llama_chat.paths import bundled_themes
from llama_chat.sanitize import sanitize
from llama_chat.ui.line_filter import SafeLineFilter
from llama_chat.ui.themes import load_themes
from llama_chat.ui.widgets.hint_line import HINT_S

if TYPE_CHECKING:
    from llama_chat.ui.copying import Copier

FALLBACK_THEME = "ember"

_NO_COLOUR = NoColor()


class SafeApp(App[None]):
    """An application in the user's theme whose screen no text can command.

    Args:
        driver: writes the screen; None for Textual's own.
        theme: name of the theme that is wanted.
        user_themes: the folder of the user's own themes.
    """

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, driver: type[Driver] | None, theme: str, user_themes: Path) -> None:
        super().__init__(driver_class=driver)
        self.theme_notices = self._take_theme(theme, user_themes)
        self._safe_filter = SafeLineFilter()
        self._is_motion_reduced = self._is_cursor_held = False
        self._copied_file = user_themes.parent / "copied.txt"
        self.copier: Copier | None = None
        """Made when something is copied for the first time."""

    def _take_theme(self, wanted: str, user_themes: Path) -> tuple[str, ...]:
        """Register all themes and take the wanted one; notices about what was not taken."""
        loaded = load_themes(bundled_themes(), user_themes)
        for theme in loaded.themes.values():
            self.register_theme(theme)
        if wanted in self.available_themes:
            self.theme = wanted
            return loaded.notices
        self.theme = FALLBACK_THEME if FALLBACK_THEME in loaded.themes else self.theme
        return (
            *loaded.notices,
            f"There is no theme '{wanted}': {self.theme} is used. F9 shows what there is.",
        )

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,  # noqa: ARG002  (Textual's; nothing is parsed)
    ) -> None:
        """Say it in a line of our own, from any thread: a toast would cover what is typed or read."""
        kind: NoticeKind = "info" if severity == "information" else severity
        text = f"{title}: {message}" if title else message
        self.call_later(self.say_in_passing, text, kind, timeout or HINT_S)

    def say_in_passing(self, text: str, kind: NoticeKind, seconds: float) -> None:
        """Show the text for so long where it covers nothing."""
        raise NotImplementedError

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, or none of its greys where no colour is wanted; and ours, which guards the terminal."""
        filters = [_NO_COLOUR] if self.no_color else super().get_line_filters()
        return [*filters, self._safe_filter]

    def write_to_terminal(self, sequence: str) -> None:
        """Put bytes of our own making on the terminal, beside the screen."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)
            self._driver.flush()

    def copy_to_clipboard(self, text: str) -> None:
        """Copy the text by the ways that there are here; a line says what is known of it."""
        self.copy_text(text)

    def copy_text(self, text: str, what: str = "") -> None:
        """The same, of something that has a name: "Code block 2"."""
        self._clipboard = text
        self.run_worker(self._copy(text, what), group="copy")

    async def _copy(self, text: str, what: str) -> None:
        if self.copier is None:
            self.copier = self._make_copier()
        try:
            self.say_in_passing(await self.copier.copy(text, what), "info", HINT_S)
        except LlamaChatError as error:
            self.say_in_passing(str(error), "error", HINT_S)

    def _make_copier(self) -> Copier:
        import shutil

        from llama_chat.ui.clipboard import Ways, ways_to_copy
        from llama_chat.ui.copying import Copier

        ways = Ways((), "plain") if self.is_headless else ways_to_copy(os.environ, sys.platform, shutil.which)
        return Copier(ways, self.write_to_terminal, self._copied_file)

    def reduce_motion(self, is_reduced: bool) -> None:
        """Let nothing glide or blink, or everything again."""
        self.animation_level = "none" if is_reduced else constants.TEXTUAL_ANIMATIONS
        self._is_motion_reduced = is_reduced
        self._set_blink(self.focused)

    def hold_cursor(self, is_held: bool) -> None:
        """Let the cursor stand, or blink again where it may: each blink is a frame (3 ms, 2026-11-22)."""
        if is_held != self._is_cursor_held:
            self._is_cursor_held = is_held
            self._set_blink(self.focused)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Hold its cursor still, where that is wanted."""
        self._set_blink(event.widget)

    def _set_blink(self, widget: Widget | None) -> None:
        if widget is not None and hasattr(widget, "cursor_blink"):
            widget.cursor_blink = not (self._is_motion_reduced or self._is_cursor_held)

    def on_mount(self) -> None:
        """Catch the signals, and draw everything again after a stay in the shell."""
        self._catch_signals()
        self.app_resume_signal.subscribe(self, lambda _app: self.refresh(layout=True))

    def on_resize(self, event: events.Resize) -> None:
        """Draw everything again where the terminal has the size that it had; to Textual nothing happened.

        It was another size for a moment (a window is pulled about, a pane zoomed and back), and what the
        smaller one cut off is gone from the terminal.
        """
        if self.screen_stack and self.screen.outer_size == event.size:  # of its layout; `size` is the app's
            self.screen.refresh()

    def _catch_signals(self) -> None:
        if self.is_headless or sys.platform == "win32":
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    def _fatal_error(self) -> None:
        """Textual's traceback prints local variables, and with them what was said in the chat.

        It is not drawn by a widget: what the exception says passes by the filter.
        """
        from rich.traceback import Traceback

        trace = self.console.render(Traceback(show_locals=False, width=None), self.console.options)
        safe = [Segment(sanitize(text), style, control) for text, style, control in trace]
        self._exit_renderables.append(Segments(safe))
        self._close_messages_no_wait()
