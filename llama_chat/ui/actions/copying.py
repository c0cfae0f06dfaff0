"""Copying and saving what was said: a message, a code block of it, the whole chat."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from textual import on

from llama_chat.chat import notices
from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.conversation import Message, Role
from llama_chat.errors import LlamaChatError, UsageError
from llama_chat.ui.safe_app import SafeApp
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from pathlib import Path

    from llama_chat.markup.code_blocks import CodeBlock

_ALL = "all"
_NAMES = {Role.ASSISTANT: "The reply", Role.USER: "Your message", Role.SYSTEM: "The system prompt"}
PATH_HINT_S = 12.0
"""A path is longer to read than a sentence."""


class CopyActions(ChatViewScreen):
    """Copies the stored text, letter by letter, not the rows that are drawn of it."""

    def action_copy_message(self, words: str = "") -> None:
        """Copy the chosen message; with a number its code block, with `all` the chat."""
        if words == _ALL:
            self.action_copy_all()
        elif words:
            self.action_copy_code(_number(words, "/copy"))
        elif (message := self.chosen_message()) is None:
            self.hint(notices.NOTHING_TO_COPY)
        elif not message.text:
            self.hint("There is nothing in this message yet.")
        else:
            self._copy(message.text, _NAMES[message.role])

    def action_copy_code(self, number: int) -> None:
        """Copy the code block of that number."""
        block = self._code_block(number)
        if block is not None:
            self._copy(block.to_copy, f"Code block {number}")

    @on(Transcript.CopyWanted)
    def _copy_clicked(self, event: Transcript.CopyWanted) -> None:
        event.stop()
        what = f"Code block {event.number}" if event.number else "Code of a thought"
        self._copy(event.block.to_copy, what)

    def action_copy_all(self) -> None:
        """Copy the path as Markdown, as `/export md` writes it."""
        from llama_chat.chat.exporting import chat_markdown

        if not self.chat.conversation.turns:
            self.hint(notices.NOTHING_TO_COPY)
            return
        self._copy(chat_markdown(self.chat), "The chat")

    def _copy(self, text: str, what: str) -> None:
        if isinstance(self.app, SafeApp):
            self.app.copy_text(text, what)

    # --- code ---------------------------------------------------------------------------------------

    def code_blocks(self) -> list[CodeBlock]:
        """Those of the chosen message, else of the last reply of the path that has any."""
        from llama_chat.markup.code_blocks import code_blocks

        chosen = self.chosen_message()
        if chosen is not None and (found := code_blocks(chosen.text)):
            return found
        for message in reversed(self.chat.conversation.path()):
            now: Message = self.chat.message_now(message.id) or message
            if now.role is Role.ASSISTANT and (found := code_blocks(now.text)):
                return found
        return []

    def _code_block(self, number: int) -> CodeBlock | None:
        """The block of that number, from 1; None after it was said that there is none."""
        blocks = self.code_blocks()
        if 1 <= number <= len(blocks):
            return blocks[number - 1]
        self.hint(notices.no_code_block(number, len(blocks)))
        return None

    def action_save_code(self, words: str = "") -> None:
        """Save a code block: ask which one and where, unless the words say so."""
        blocks = self.code_blocks()
        first, _, rest = words.strip().partition(" ")
        is_numbered = first.isdecimal()
        number = int(first) if is_numbered else len(blocks)
        path = rest.strip() if is_numbered else words.strip()
        if not 1 <= number <= len(blocks):
            self.hint(notices.no_code_block(number, len(blocks)))
        elif path:
            self.run_worker(self._save(blocks[number - 1], path, f"/code {words}"))
        else:
            self._ask_where(blocks, number)

    async def _save(self, block: CodeBlock, words: str, command: str) -> None:
        from llama_chat.chat.code_files import save_code

        try:
            path = await asyncio.wrap_future(self.file_writer.do(lambda: save_code(words, block)))
        except LlamaChatError as error:
            self.prompt.refuse(command)
            self.hint(str(error), "warning")
        else:
            self._tell_saved(path)

    @cached_property
    def file_writer(self) -> OwnThread:
        """Waits for the disk that takes what the user saves."""
        return OwnThread("saving")

    def _ask_where(self, blocks: list[CodeBlock], number: int) -> None:
        from llama_chat.ui.screens.save_code import SaveCodeScreen

        def tell(path: Path | None) -> None:
            if path is not None:
                self._tell_saved(path)

        self.app.push_screen(SaveCodeScreen(blocks, number, self.file_writer), tell)

    def _tell_saved(self, path: Path) -> None:
        self.hint(f"Saved to {path}", seconds=PATH_HINT_S)


def _number(words: str, command: str) -> int:
    if not words.isdecimal():
        raise UsageError(
            f"{command} takes the number of a code block, or {_ALL}.", hint=f"For example: {command} 2"
        )
    return int(words)
