"""The driver that reads keys and writes the screen; on POSIX one that mends what Textual's reads wrongly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.driver import Driver

if TYPE_CHECKING:
    from textual.app import App
    from typing_extensions import Buffer

CLOSED_TERMINAL_EXIT_CODE = 129
"""128 + SIGHUP, as shells report it."""

if sys.platform == "win32":

    def driver_class() -> type[Driver] | None:
        """None: Textual's own driver for this platform."""
        return None

    def hear_keys(driver: Driver | None, listener: Callable[[], None]) -> None:
        """Nothing: Textual's own driver tells nobody."""

else:
    import io
    import os
    import selectors
    import termios
    from codecs import getincrementaldecoder

    from textual.drivers.linux_driver import LinuxDriver
    from textual.events import Key

    from llama_chat.ui.safe_parser import SafeParser

    READ_BYTES = 65_536
    IDLE_S = 0.1
    WAITING_S = 0.02
    """While an ESC waits for what may follow it; Textual always takes 0.1 s, which is felt at the Esc key."""

    class HangupProof(io.RawIOBase):
        """The terminal to write to; what is written after it has gone is dropped.

        Textual's writer thread would end with the first error, and the app then wait for ever for room in
        its queue of 30 writes.

        Args:
            terminal: a file descriptor, which stays open.
        """

        def __init__(self, terminal: int) -> None:
            self._terminal = terminal
            self._is_gone = False

        def writable(self) -> bool:
            """Always."""
            return True

        def fileno(self) -> int:
            """The terminal's file descriptor."""
            return self._terminal

        def write(self, data: Buffer, /) -> int:
            """The number of bytes taken, which may be fewer than there are."""
            if not self._is_gone:
                try:
                    return os.write(self._terminal, data)
                except OSError:
                    self._is_gone = True
            return memoryview(data).nbytes

    class SafeDriver(LinuxDriver):
        """Textual's driver for Linux and macOS with `SafeParser`, and an end when the terminal is closed."""

        def __init__(
            self,
            app: App[Any],
            *,
            debug: bool = False,
            mouse: bool = True,
            size: tuple[int, int] | None = None,
        ) -> None:
            super().__init__(app, debug=debug, mouse=mouse, size=size)
            self.on_key: Callable[[], None] | None = None
            """Called on the thread that reads, before anybody else hears of the key."""
            if self._file is not None:
                screen = io.BufferedWriter(HangupProof(self._file.fileno()))
                self._file = io.TextIOWrapper(screen, encoding="utf-8", errors="backslashreplace")
            self._size = size or self._told_size()

        def _get_terminal_size(self) -> tuple[int, int]:
            """Columns and lines, as the terminal itself tells them.

            Textual believes COLUMNS and LINES first. What has loaded GNU readline, as a Python prompt, leaves
            both to all that it starts: the chat then kept its first size for ever (2026-11-22).
            """
            return self._told_size() or super()._get_terminal_size()

        def _told_size(self) -> tuple[int, int] | None:
            """None: there is no terminal, or it does not know."""
            try:
                columns, lines = os.get_terminal_size(self._file.fileno() if self._file is not None else -1)
            except OSError:
                return None
            return (columns, lines) if columns and lines else None

        def _sigcont_application(self, *_: object) -> None:
            """Go on after a stop.

            Textual starts its threads again whatever stopped the process. But a terminal that is closed sends
            SIGCONT, too, and `kill -STOP` leaves them running: then there would be two that read keys.
            """
            if not self._auto_restart:
                return
            if not self._must_signal_resume:
                if not self._has_terminal():
                    return
                self.suspend_application_mode()
                self._must_signal_resume = True
            self.resume_application_mode()

        def _has_terminal(self) -> bool:
            try:
                termios.tcgetattr(self.fileno)
            except termios.error:
                return False
            return True

        def run_input_thread(self) -> None:
            """Read until the driver stops or the terminal is gone, in which case the app exits.

            Textual reads the end of a closed terminal over and over, at the full speed of a core.
            """
            parser = SafeParser(self._debug)
            decode = getincrementaldecoder("utf-8")("replace").decode
            with selectors.SelectSelector() as selector:
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    if selector.select(WAITING_S if parser.is_waiting else IDLE_S):
                        data = self._read()
                        if not data:
                            self._app.call_later(self._app.exit, None, CLOSED_TERMINAL_EXIT_CODE)
                            return
                        for event in parser.feed(decode(data)):
                            if self.on_key is not None and isinstance(event, Key):
                                self.on_key()
                            self.process_message(event)
                    for event in parser.tick():
                        self.process_message(event)

        def _read(self) -> bytes:
            try:
                return os.read(self.fileno, READ_BYTES)
            except OSError:  # EIO: the other side of the terminal has gone
                return b""

    def driver_class() -> type[Driver] | None:
        """The driver to give to `App(driver_class=...)`."""
        return SafeDriver

    def hear_keys(driver: Driver | None, listener: Callable[[], None]) -> None:
        """Call the listener as soon as a key is read, on the thread that reads."""
        if isinstance(driver, SafeDriver):
            driver.on_key = listener
