"""The model's file on its way: bytes, speed and time left; Esc stops it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llama_chat.pull import PullProgress
from llama_chat.sanitize import sanitize
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.widgets.fitting import FittingLine, cut, first_fitting
from llama_chat.ui.widgets.status_bar import meter

LEAVES_NOTHING = ("Esc stops; nothing half-written stays behind.", "Esc stops; nothing stays behind.")
KEEPS_PART = ("Esc stops; the next fetch goes on from there.", "Esc stops; it can be gone on with.")


def progress_content(progress: PullProgress | None, cells: int) -> Content:
    """A bar, a line of figures, and what is done in words."""
    if progress is None:
        return Content(f"{' ' * cells}\nasking for it…")
    bar = meter(progress.fraction, max(4, cells))
    words = cut(sanitize(progress.what), cells)
    figures = figures_content(progress, cells)
    return Content.assemble((bar, "$primary on $foreground 10%"), "\n", figures, "\n", words)


def figures_content(progress: PullProgress, cells: int) -> Content:
    """The figures of the progress that there is room for; they begin where a bar above them does."""
    whole = progress.figures.lstrip()
    is_of, places, rest = whole.partition("  ")
    wordings = [is_of + " " * (len(progress.figures) - len(whole)) + places + rest]
    while len(parts := wordings[-1].rsplit("  ", 1)) > 1:
        wordings.append(parts[0].rstrip())
    return Content(first_fitting(wordings, cells))


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
            name = sanitize(self._model)
            yield FittingLine(f"Downloading {name}, once", f"Downloading {name}", name, classes="title")
            yield Static(progress_content(None, 40), classes="progress")
            yield FittingLine(*LEAVES_NOTHING, classes="hint")

    def show(self, progress: PullProgress) -> None:
        """Draw how far it is."""
        self._progress = progress
        for bar in self.query(".progress").results(Static):
            bar.update(progress_content(progress, bar.content_size.width or 40))
        for hint in self.query(".hint").results(FittingLine):
            hint.say(*(KEEPS_PART if progress.keeps_part else LEAVES_NOTHING))

    def end(self) -> None:
        """It is here, or it will not come."""
        if self.is_current:
            self.dismiss(None)

    def on_resize(self) -> None:
        """Draw the bar as wide as the card."""
        if self._progress is not None:
            self.show(self._progress)

    def action_leave(self) -> None:
        """Stop the download."""
        self.dismiss(True)
