"""The top line: the program, the chat's title, and the model that answers."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llama_chat.chat.machine.model_name import name_and_type as name_and_type
from llama_chat.events import ModelInfo
from llama_chat.sanitize import one_line, sanitize
from llama_chat.ui.widgets.fitting import cut

NAME = "llama-chat"


def model_line(info: ModelInfo | None, label: str, *, with_device: bool = True) -> str:
    """The model in a few words: `SmolLM2-135M-Instruct · Q4_1 · cpu`; by its label until it is loaded."""
    if info is None:
        return " · ".join(name_and_type(label))
    return " · ".join([info.name, info.dtype, *([info.device] if with_device else [])])


class Header(Widget):
    """One line; what does not fit is cut, the title last."""

    DEFAULT_CSS = """
    Header { height: 1; padding: 0 2; color: $foreground 60%; }
    """

    title_text: reactive[str] = reactive("")
    model_text: reactive[str] = reactive("")

    def render(self) -> Content:
        """Name, title, model."""
        width = self.content_size.width
        title = one_line(self.title_text)
        model = sanitize(self.model_text)
        name = NAME if width >= (100 if title else 60) else ""
        room = width - cell_len(name) - (3 if name else 0)
        if cell_len(model) + 4 > room // (2 if title else 1):
            model = cut(model, max(0, room // 2 if title else room))
        title = cut(title, max(0, room - cell_len(model) - 2))
        gap = max(0, room - cell_len(title) - cell_len(model))
        return Content.assemble(
            (name, "$primary bold"), "   " if name else "", (title, "$foreground bold"), " " * gap, model
        )
