"""One quiet line above the prompt, for what is said in passing: no toast that covers what is being typed."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.geometry import Size
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from llama_chat.chat.view import NoticeKind
from llama_chat.sanitize import sanitize
from llama_chat.ui.widgets.fitting import cut, shorter_and_shorter

HINT_S = 6.0
"""Long enough to read two sentences."""

LOW_ROWS, ROOMY_ROWS, NARROW_CELLS = 9, 20, 60
"""A low screen has one row for a hint, one that is narrow or has room three, others two."""

_SIGNS = {"info": "· ", "warning": "! ", "error": "✗ "}
_STYLES = {"info": "$foreground 60%", "warning": "$text-warning", "error": "$text-error"}


def hint_rows(text: str, cells: int, most: int) -> list[str]:
    """The text in at most so many rows: as many of its sentences as fit, of the first what fits."""
    rows: list[str] = []
    for words in shorter_and_shorter(text):
        rows = [line.plain.rstrip() for line in Content(words).wrap(max(1, cells))]
        if len(rows) <= most:
            return rows
    return [*rows[: most - 1], cut(" ".join(rows[most - 1 :]), max(0, cells))]


class HintLine(Widget):
    """A row that is there only while it says something; the newest words replace those before them.

    Longer words take a second row, on a narrow screen a third. What does not fit even so is left out by
    whole sentences. All text is foreign: nothing in it is markup.
    """

    DEFAULT_CSS = """
    HintLine { display: none; height: auto; max-width: 104; padding: 0 1; }
    """

    text: reactive[str] = reactive("", layout=True)

    def __init__(self) -> None:
        super().__init__()
        self._kind: NoticeKind = "info"
        self._seconds = HINT_S
        self._holds: Callable[[], bool] | None = None
        self._timer: Timer | None = None
        self._standing = ""

    @property
    def is_passing(self) -> bool:
        """Whether it says something that will go."""
        return bool(self.text) and self.text != self._standing

    def stand(self, text: str) -> None:
        """Show the text whenever there is nothing else to say; empty: nothing."""
        is_passing = self.is_passing
        self._standing = sanitize(text).strip()
        if not is_passing:
            self.clear()

    def say(
        self,
        text: str,
        kind: NoticeKind = "info",
        *,
        seconds: float = HINT_S,
        holds: Callable[[], bool] | None = None,
    ) -> None:
        """Show the text for some seconds.

        Args:
            text: sentences, the most useful first.
            kind: how loud.
            seconds: before it goes.
            holds: whether it is still true; asked by `check`.
        """
        self._kind, self._seconds, self._holds = kind, seconds, holds
        self.text = sanitize(text).strip()
        self.refresh()
        if self.is_attached:
            self._start_timer()

    def clear(self) -> None:
        """Say nothing more."""
        self._stop_timer()
        self._holds = None
        self._kind = "info"
        self.text = self._standing

    def check(self) -> None:
        """Go, if what it says is not true any more."""
        if self._holds is not None and not self._holds():
            self.clear()

    def on_mount(self) -> None:
        """Begin to count the seconds of what was said before."""
        if self.text:
            self._start_timer()

    def watch_text(self, text: str) -> None:
        """Take a row only for words."""
        self.display = bool(text)

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.set_timer(self._seconds, self.clear)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def render(self) -> Content:
        """A sign and the sentences that fit."""
        sign = _SIGNS[self._kind]
        rows = hint_rows(self.text, self.content_size.width - len(sign), self._most_rows)
        lines = [(sign if n == 0 else " " * len(sign)) + row for n, row in enumerate(rows)]
        return Content.styled("\n".join(lines), _STYLES[self._kind])

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  (Textual's)
        """As many rows as the words take."""
        return len(hint_rows(self.text, width - len(_SIGNS[self._kind]), self._most_rows))

    @property
    def _most_rows(self) -> int:
        width, height = self.app.size
        if height < LOW_ROWS:
            return 1
        return 3 if height >= ROOMY_ROWS or width < NARROW_CELLS else 2
