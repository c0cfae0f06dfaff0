"""One quiet row above the prompt: the words that are sent when the reply has come to its end."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widget import Widget

from llama_chat.markup.attached import in_short
from llama_chat.sanitize import one_line
from llama_chat.ui.widgets.fitting import cut

NARROW_CELLS = 60


class WaitingLine(Widget):
    """The words, and the key that takes them back; a click does that, too.

    Args:
        key: what takes them back, as it is printed on the keyboard.
    """

    DEFAULT_CSS = """
    WaitingLine { height: 1; max-width: 104; padding: 0 1; color: $foreground 60%; }
    """
    can_focus = False

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self._words = ""
        self._count = 1

    def show(self, words: str, count: int = 1) -> None:
        """Show these; without words, take no row.

        Args:
            words: all that waits.
            count: how many messages it was; they go as one turn.
        """
        self._count = count
        self._words = one_line(in_short(words))
        self.display = bool(words)
        self.refresh()

    def render(self) -> Content:
        """As many of the words as there is room for."""
        width = self.content_size.width
        is_wide, several = width >= NARROW_CELLS, self._count > 1
        how = f" · {self._key}" + (f" takes {'them' if several else 'it'} back" if is_wide else "")
        together = ", sent as one turn" if is_wide else " as one"
        head = f"{self._count} waiting{together}" if several else "waiting"
        words = cut(f"{head}: {self._words}", max(0, width - cell_len(how)))
        return Content.assemble((words, "italic"), how)

    async def on_click(self, event: events.Click) -> None:
        """Take the words back."""
        event.stop()
        await self.run_action("screen.queue")
