"""A card that asks where a code block is saved; several blocks are gone through with ↑ and ↓."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.code_files import free_words, proposed_words, save_code
from llama_chat.errors import LlamaChatError
from llama_chat.markup.code_blocks import CodeBlock
from llama_chat.sanitize import one_line, sanitize
from llama_chat.ui.screens.modal import Card

PREVIEW_LINES = 5
MOST_LETTERS = 4_000


class SaveCodeScreen(Card[Path]):
    """Edit the path and save; the result is the file that was written.

    Args:
        blocks: at least one.
        number: of the one that is shown first, from 1.
        writer: waits for the disk.
    """

    DEFAULT_CSS = """
    SaveCodeScreen.-low > .card { height: auto; }
    SaveCodeScreen .title { margin-bottom: 0; }
    SaveCodeScreen .preview {
        height: auto; max-height: 5; margin: 1; padding: 0 1; background: $panel; color: $foreground 70%;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    SaveCodeScreen.-low .preview { display: none; }
    SaveCodeScreen Input {
        border: none;
        height: 1;
        margin: 0 1;
        padding: 0;
        background: transparent;
        &:focus { border: none; background-tint: $foreground 0%; }
    }
    SaveCodeScreen .problem { display: none; color: $text-warning; padding: 0 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", "Block above", show=False),
        Binding("down", "step(1)", "Block below", show=False),
    ]

    def __init__(self, blocks: Sequence[CodeBlock], number: int, writer: OwnThread) -> None:
        super().__init__()
        self._writer = writer
        self._is_saving = False
        self._blocks = blocks
        self._number = number
        self._title = Static(classes="title")
        self._preview = Static(classes="preview")
        self._input = Input(placeholder="a file", max_length=MOST_LETTERS, compact=True)
        self._problem = Static(classes="problem")

    def compose(self) -> ComposeResult:
        """Title, the beginning of the code, path, hint."""
        with Vertical(classes="card"):
            yield self._title
            yield self._preview
            yield self._input
            yield self._problem
            others = "↑ ↓ another block · " if len(self._blocks) > 1 else ""
            yield Static(Content(f"Enter saves · {others}Esc back"), classes="hint")

    def on_mount(self) -> None:
        """Show the first block."""
        super().on_mount()
        self._show()

    @property
    def _block(self) -> CodeBlock:
        return self._blocks[self._number - 1]

    def _show(self) -> None:
        block = self._block
        count = f" {self._number} of {len(self._blocks)}" if len(self._blocks) > 1 else ""
        lines = f"{block.line_count:,} line{'' if block.line_count == 1 else 's'}"
        about = " · ".join(filter(None, [one_line(block.language), lines]))
        self._title.update(
            Content.assemble((f"Save code block{count}", "bold"), (f"   {about}", "$foreground 50%"))
        )
        shown = block.to_copy.split("\n")[:PREVIEW_LINES]
        self._preview.update(Content("\n".join(sanitize(line).expandtabs(4) for line in shown)))
        self._input.value = proposed_words(block)
        self._input.cursor_position = len(self._input.value)
        self._say("")

    def _say(self, problem: str) -> None:
        self._problem.update(Content(sanitize(problem)))
        self._problem.display = bool(problem)

    def action_step(self, step: int) -> None:
        """Another block, where there is one in that direction."""
        number = self._number + step
        if 1 <= number <= len(self._blocks):
            self._number = number
            self._show()

    @on(Input.Submitted)
    def _begin_to_save(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._is_saving:
            self._is_saving = True
            self._save(event.value, self._block)

    @work
    async def _save(self, words: str, block: CodeBlock) -> None:
        try:
            path = await asyncio.wrap_future(self._writer.do(lambda: save_code(words, block)))
        except LlamaChatError as error:
            free = await asyncio.wrap_future(self._writer.do(lambda: free_words(words, block)))
            self._say(error.message)
            if free and words == self._input.value:
                was, beside = Path(words.strip()).name, Path(free).name
                self._say(f"{was} is there already. Enter saves as {beside}.")
                self._input.value = free
                self._input.cursor_position = len(free)
        else:
            self.dismiss(path)
        finally:
            self._is_saving = False
