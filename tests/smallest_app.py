"""The smallest Textual app with a place to write: what the start of the chat is measured against."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import TextArea


class SmallestApp(App[None]):
    """One TextArea."""

    BINDINGS = [Binding("ctrl+q", "quit", priority=True)]  # noqa: RUF012  (Textual's own way)

    def compose(self) -> ComposeResult:
        """The TextArea, with the words that the measuring waits for."""
        yield TextArea(placeholder="Ask something…")


if __name__ == "__main__":
    SmallestApp().run()
