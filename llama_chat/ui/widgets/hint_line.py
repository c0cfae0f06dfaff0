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

LOW_ROWS, SHORT_ROWS, ROOMY_ROWS = 9, 16, 20
"""A screen with fewer rows than `SHORT_ROWS` has one for a hint, one that is roomy three, others two."""
WHOLE_ROWS = 6
"""What is asked for again takes as many."""

_SIGNS = {"info": "· ", "warning": "! ", "error": "✗ "}
_STYLES = {"info": "$foreground 60%", "warning": "$text-warning", "error": "$text-error"}


def hint_rows(text: str, cells: int, most: int) -> list[str]:
    """The text in at most so many rows: as many of its sentences as fit, of the first what fits.

    Where something is left out, it ends with an ellipsis.
    """
    rows: list[str] = []
    whole, *shorter = shorter_and_shorter(text)
    for words in (whole, *(f"{words} …" for words in shorter)):
        rows = [line.plain.rstrip() for line in Content(words).wrap(max(1, cells))]
        if len(rows) <= most:
            return rows
    return [*rows[: most - 1], cut(" ".join(rows[most - 1 :]), max(0, cells))]


class HintLine(Widget):
    """A row that is there only while it says something; the newest words replace those before them.

    Longer words take a second row and a third, where the screen has them. What does not fit even so is left
    out by whole sentences; a click, or what said them said again, shows all. All text is foreign: nothing in
    it is markup.
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
        self._is_whole = False

    @property
    def is_passing(self) -> bool:
        """Whether it says something."""
        return bool(self.text)

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
        text = sanitize(text).strip()
        self._is_whole = bool(text) and text == self.text
        self.text = text
        self.refresh(layout=True)
        if self.is_attached:
            self._start_timer()

    def clear(self) -> None:
        """Say nothing more."""
        self._stop_timer()
        self._holds = None
        self._kind = "info"
        self.text = ""

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
        height = self.app.size.height
        if self._is_whole:
            return min(WHOLE_ROWS, max(1, height // 3))
        return 1 if height < SHORT_ROWS else 2 if height < ROOMY_ROWS else 3

    def on_click(self) -> None:
        """Show all of it, for as long again."""
        self._is_whole = True
        self.refresh(layout=True)
        self._start_timer()
