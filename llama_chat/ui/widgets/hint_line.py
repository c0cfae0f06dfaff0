"""One quiet line above the prompt, for what is said in passing: no toast that covers what is being typed."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from llama_chat.sanitize import sanitize
from llama_chat.ui.view import NoticeKind
from llama_chat.ui.widgets.fitting import first_fitting, shorter_and_shorter

HINT_S = 6.0
"""Long enough to read two sentences."""

_SIGNS = {"info": "· ", "warning": "! ", "error": "✗ "}
_STYLES = {"info": "$foreground 60%", "warning": "$text-warning", "error": "$text-error"}


class HintLine(Widget):
    """A row that is there only while it says something; the newest words replace those before them.

    What does not fit is left out by whole sentences. All text is foreign: nothing in it is markup.
    """

    DEFAULT_CSS = """
    HintLine { display: none; height: 1; max-width: 104; padding: 0 1; }
    """

    text: reactive[str] = reactive("")

    def __init__(self) -> None:
        super().__init__()
        self._kind: NoticeKind = "info"
        self._seconds = HINT_S
        self._holds: Callable[[], bool] | None = None
        self._timer: Timer | None = None

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
        words = first_fitting(shorter_and_shorter(self.text), max(0, self.content_size.width - len(sign)))
        return Content.styled(sign + words, _STYLES[self._kind])
