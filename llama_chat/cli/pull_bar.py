"""A download told on stderr: a bar on a terminal, else a line for about every tenth."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import TextIO

from llama_chat.catalogue import Fetchable, fetch
from llama_chat.pull_progress import PullProgress
from llama_chat.sanitize import one_line
from llama_chat.units import bytes_text

BAR_CELLS = 24
PLAIN_S = 1.0
_EIGHTHS = " ▏▎▍▌▋▊▉"


class ProgressTeller:
    """Called with each progress; `end` when there is no more.

    Args:
        stream: where it is told.
        is_terminal: whether one line may be drawn again and again.
    """

    def __init__(self, stream: TextIO, *, is_terminal: bool) -> None:
        self._stream, self._is_terminal = stream, is_terminal
        self._last: PullProgress | None = None
        self._is_line_open = False

    def __call__(self, progress: PullProgress) -> None:
        """Tell what is done, in a line of its own, and then how many of the bytes are here."""
        is_new = self._last is None or self._last.what != progress.what
        if is_new:
            self.end()
            self._write(f"{one_line(progress.what)}…\n")
            self._last = progress
        if is_new and progress.is_complete:
            return  # the bytes were told before
        if self._is_terminal:
            cells = shutil.get_terminal_size().columns - 1
            self._write(f"\r{progress_line(progress)[:cells]:<{cells}}")
            self._is_line_open = True
        elif self._is_due(progress):
            self._write(f"  {10 * int(10 * progress.fraction)} % of {bytes_text(progress.total_bytes)}\n")
            self._last = progress

    def _is_due(self, progress: PullProgress) -> bool:
        """Whether it is a tenth and a second later than the last line."""
        assert self._last is not None
        is_new_tenth = int(10 * progress.fraction) > int(10 * self._last.fraction)
        return is_new_tenth and progress.elapsed_s - self._last.elapsed_s >= PLAIN_S

    def end(self) -> None:
        """Leave the line of the bar."""
        if self._is_line_open:
            self._write("\n")
            self._is_line_open = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody looks any more: the download goes on
            return


def pull_with_bar(model: Fetchable, models_folder: Path, cancel: threading.Event | None = None) -> Path:
    """Fetch the model, told on stderr; Ctrl+C, too, ends it, and leaves nothing that looks whole.

    Raises:
        PullError: it could not be fetched.
        Interrupted: `cancel` was set.
    """
    teller = ProgressTeller(sys.stderr, is_terminal=sys.stderr.isatty())
    try:
        return fetch(model, models_folder, teller, cancel or threading.Event())
    finally:
        teller.end()


def progress_line(progress: PullProgress) -> str:
    """The bar and its figures."""
    return f"{_bar(progress.fraction)} {progress.figures}"


def _bar(fraction: float) -> str:
    eighths = int(fraction * BAR_CELLS * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(BAR_CELLS, "░")
