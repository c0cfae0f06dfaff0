"""What an empty chat shows: the model, and the few keys to begin with."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.sanitize import sanitize

_LLAMA = (
    " █▄▄█",
    "██▀███",
    "▀▀▀███",
    "   ███▄▄▄▄█",
    "   ████████",
    "   ██    ██",
)
_KEYS = (
    ("Enter", "send"),
    ("Ctrl+J", "new line"),
    ("Esc", "stop"),
    ("^O", "sliders"),
    ("^S", "sessions"),
    ("^P", "commands"),
)
_PROMISE = "runs on this machine; nothing you write leaves it."


class Welcome(Widget):
    """Stands in the place of the transcript until something is said."""

    DEFAULT_CSS = """
    Welcome { height: 1fr; padding: 1 2; content-align: center middle; color: $foreground 60%; }
    """

    model: reactive[str] = reactive("")

    def render(self) -> Content:
        """A llama, the model's name and the keys, as far as there is room."""
        width, height = self.content_size
        parts: list[Content] = []
        if height >= 14 and width >= 30:
            parts += [Content.assemble((line, "$primary")).pad_left((width - 11) // 2) for line in _LLAMA]
            parts.append(Content(""))
        lines = len(parts)
        parts.append(Content.assemble((sanitize(self.model), "$foreground bold")))
        if height >= 3:
            parts.append(Content(_PROMISE if width > len(_PROMISE) else "runs on this machine only"))
        if height >= 8 and width >= 44:
            parts.append(Content(""))
            for (left, left_does), (right, right_does) in zip(_KEYS[:3], _KEYS[3:], strict=True):
                parts.append(
                    Content.assemble(
                        (left.rjust(7), "$primary"), f"  {left_does:<12}",
                        (right.rjust(4), "$primary"), f"  {right_does:<9}",
                    )
                )  # fmt: skip
        centred = [part.center(width) if i >= lines and width > 0 else part for i, part in enumerate(parts)]
        return Content("\n").join(centred)
