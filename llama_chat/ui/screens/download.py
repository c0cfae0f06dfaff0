"""The model's file on its way: bytes, speed and time left; Esc stops it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llama_chat.pull import PullProgress
from llama_chat.sanitize import sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.status_bar import meter


def progress_content(progress: PullProgress | None, cells: int) -> Content:
    """A bar and a line of figures."""
    if progress is None:
        return Content(f"{' ' * cells}\nasking for it…")
    fraction = progress.done_bytes / progress.total_bytes if progress.total_bytes else 0.0
    bar = meter(fraction, max(4, cells))
    done, total = progress.done_bytes / 1e6, progress.total_bytes / 1e6
    line = f"{done:7.1f} of {total:.1f} MB  {fraction * 100:3.0f} %  {progress.bytes_per_s / 1e6:6.1f} MB/s"
    if (left_s := progress.left_s) is not None and fraction > 0:
        line += f"  {int(left_s) // 60}:{int(left_s) % 60:02d} left"
    return Content.assemble((bar, "$primary on $foreground 10%"), "\n", line, "\n", sanitize(progress.what))


class DownloadScreen(Card[bool]):
    """Shows the progress; leaving it is the wish to stop.

    Args:
        model: its name.
    """

    DEFAULT_CSS = """
    DownloadScreen .progress { padding: 0 1; color: $foreground 70%; height: 3; }
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model
        self._progress: PullProgress | None = None

    def compose(self) -> ComposeResult:
        """Title, progress, hint."""
        with Vertical(classes="card"):
            title = f"Fetching {sanitize(self._model)}, once"
            yield Static(Content(title), classes="title")
            yield Static(progress_content(None, 40), classes="progress")
            yield Static(Content("Esc stops; nothing half-written stays behind."), classes="hint")

    def show(self, progress: PullProgress) -> None:
        """Draw how far it is."""
        self._progress = progress
        for bar in self.query(".progress").results(Static):
            bar.update(progress_content(progress, bar.content_size.width or 40))

    def on_resize(self) -> None:
        """Draw the bar as wide as the card."""
        if self._progress is not None:
            self.show(self._progress)

    def action_leave(self) -> None:
        """Stop the download."""
        self.dismiss(True)
