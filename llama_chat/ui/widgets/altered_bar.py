"""One row above the prompt as long as the model is altered: what is off or scaled, and how that ends."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widget import Widget

from llama_chat.sanitize import one_line
from llama_chat.ui.widgets.fitting import cut

_NARROW_CELLS = 60


class AlteredBar(Widget):
    """What the next reply is altered by, and the key that resets it; a click does that, too.

    Args:
        key: what resets it, as it is printed on the keyboard.
    """

    DEFAULT_CSS = """
    AlteredBar { height: 1; max-width: 104; padding: 0 1; background: $panel; color: $text-warning; }
    """
    can_focus = False

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self._words = self._short = ""

    def show(self, words: str, short: str = "") -> None:
        """Show these, the short ones where there is little room; without words, take no row."""
        self._words, self._short = one_line(words), one_line(short)
        self.display = bool(words)
        self.refresh()

    def render(self) -> Content:
        """As many of the words as there is room for; the key that resets it is never cut."""
        width = self.content_size.width
        is_wide = width >= _NARROW_CELLS
        how = f" · {self._key}" + (" resets" if is_wide else "")
        words = self._words if is_wide else self._short or self._words
        return Content.assemble((cut(words, max(0, width - cell_len(how))), ""), (how, "bold"))

    async def on_click(self, event: events.Click) -> None:
        """Reset it."""
        event.stop()
        await self.run_action("screen.alter")
