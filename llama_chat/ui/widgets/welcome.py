"""What an empty chat shows: the model, and the few keys to begin with."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.chat.keys import KEY_ACTIONS, KeyAction, key_name
from llama_chat.sanitize import sanitize

LLAMA = (
    " █▄▄█",
    "██▀███",
    "▀▀▀███",
    "   ███▄▄▄▄█",
    "   ████████",
    "   ██    ██",
)
_LEFT, _RIGHT = ("send", "newline", "stop"), ("sampling", "sessions", "palette")
"""What the keys are shown of, in two columns."""
_PROMISE = "runs on this machine; nothing you write leaves it."


class Welcome(Widget):
    """Stands in the place of the transcript until something is said.

    Args:
        actions: the keys in force.
    """

    DEFAULT_CSS = """
    Welcome { height: 1fr; padding: 1 2; content-align: center middle; color: $foreground 60%; }
    """

    model: reactive[str] = reactive("")

    def __init__(self, actions: Sequence[KeyAction] = KEY_ACTIONS) -> None:
        super().__init__()
        self.take_actions(actions)

    def take_actions(self, actions: Sequence[KeyAction]) -> None:
        """Name the keys of these from now on."""
        self._actions = {action.action: action for action in actions}
        self.refresh()

    def _key(self, name: str, *, short: bool = False) -> tuple[str, str]:
        """What to press or to type, and what it does."""
        action = self._actions[name]
        return key_name(action.keys[0], short=short) if action.keys else action.command, action.label

    def render(self) -> Content:
        """A llama, the model's name and the keys, as far as there is room."""
        width, height = self.content_size
        parts: list[Content] = []
        if height >= 14 and width >= 30:
            parts += [Content.assemble((line, "$primary")).pad_left((width - 11) // 2) for line in LLAMA]
            parts.append(Content(""))
        lines = len(parts)
        parts.append(Content.assemble((sanitize(self.model), "$foreground bold")))
        if height >= 3:
            parts.append(Content(_PROMISE if width > len(_PROMISE) else "runs on this machine only"))
        if height >= 8 and width >= 44:
            parts.append(Content(""))
            for left_name, right_name in zip(_LEFT, _RIGHT, strict=True):
                left, left_does = self._key(left_name)
                right, right_does = self._key(right_name, short=True)
                parts.append(
                    Content.assemble(
                        (left.rjust(7), "$primary"), f"  {left_does:<12}",
                        (right.rjust(4), "$primary"), f"  {right_does:<9}",
                    )
                )  # fmt: skip
        centred = [part.center(width) if i >= lines and width > 0 else part for i, part in enumerate(parts)]
        return Content("\n").join(centred)
