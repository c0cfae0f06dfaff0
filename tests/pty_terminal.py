"""A real pseudo-terminal with a command in it, read as a person would: by what stands on the screen."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pexpect
import pyte

COMMAND = Path(sys.executable).with_name("llama-chat")


class Terminal:
    """The installed command on a terminal of its own.

    Args:
        arguments: behind `llama-chat`.
        environment: in addition to this process's.
        size: columns and lines.
        command: instead of the installed one.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        size: tuple[int, int] = (100, 30),
        command: str | Path = COMMAND,
    ) -> None:
        columns, lines = size
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process = pexpect.spawn(
            str(command),
            list(arguments),
            dimensions=(lines, columns),
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment},
            timeout=60,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.isalive():
            self.process.kill(signal.SIGKILL)
        self.process.close(force=True)

    @property
    def text(self) -> str:
        """All that stands on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what has come, waiting at most so long for the first of it; False once no more can come."""
        try:
            data = self.process.read_nonblocking(65536, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def wait_for(self, wanted: str | Callable[[], bool], within_s: float = 60.0) -> None:
        """Read until the pattern stands on the screen, or the condition holds.

        Raises:
            AssertionError: it did not come in time, or the program has ended before; shows the screen.
        """
        holds = wanted if callable(wanted) else lambda: re.search(wanted, self.text) is not None
        deadline = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"{wanted!r} did not come within {within_s} s:\n{self.text}")
            if not self.read():
                time.sleep(0.01)
                assert self.process.isalive() or holds(), f"{wanted!r} never came:\n{self.text}"

    def wait_for_end(self, within_s: float = 15.0) -> int | None:
        """The exit status, once the process has ended; None when a signal ended it."""
        deadline = time.monotonic() + within_s
        while self.process.isalive() and time.monotonic() < deadline:
            if not self.read():
                time.sleep(0.01)  # the terminal is closed, the process is about to end
        assert not self.process.isalive(), f"still there after {within_s} s:\n{self.text}"
        self.process.close()
        return self.process.exitstatus

    def send(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size; the program hears of it by SIGWINCH."""
        self.screen.resize(lines, columns)
        self.process.setwinsize(lines, columns)
