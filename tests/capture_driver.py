"""A driver that keeps what Textual writes, instead of a terminal."""

from __future__ import annotations

import asyncio
import re

from textual import events
from textual.driver import Driver
from textual.geometry import Size

OWN_SEQUENCE = re.compile(r"\x1b\[[0-9;?>=]*[A-Za-z]|\x1b\]22;[a-z-]*\x07")
"""What Textual itself writes while it paints: colours, cursor moves, modes, the shape of the pointer."""


class CaptureDriver(Driver):
    """Takes no keys; `written` holds all output."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # handed through as they came
        self.written: list[str] = []

    def write(self, data: str) -> None:
        self.written.append(data)

    def start_application_mode(self) -> None:
        size = Size(80, 24)
        asyncio.get_running_loop().create_task(self._app._post_message(events.Resize(size, size)))

    def disable_input(self) -> None:
        pass

    def stop_application_mode(self) -> None:
        pass
