"""The driver that reads keys and writes the screen; on POSIX one that mends what Textual's reads wrongly."""

from __future__ import annotations

import sys

from textual.driver import Driver

CLOSED_TERMINAL_EXIT_CODE = 129
"""128 + SIGHUP, as shells report it."""

if sys.platform == "win32":

    def driver_class() -> type[Driver] | None:
        """None: Textual's own driver for this platform."""
        return None

else:
    import os
    import selectors
    from codecs import getincrementaldecoder

    from textual.drivers.linux_driver import LinuxDriver

    from llama_chat.ui.safe_parser import SafeParser

    READ_BYTES = 65_536
    IDLE_S = 0.1
    WAITING_S = 0.02
    """While an ESC waits for what may follow it; Textual always takes 0.1 s, which is felt at the Esc key."""

    class SafeDriver(LinuxDriver):
        """Textual's driver for Linux and macOS with `SafeParser`, and an end when the terminal is closed."""

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
