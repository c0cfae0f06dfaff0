"""Files into the prompt: read beside the screen, put in as chips; a pasted path becomes its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from textual.document._document import Location, Selection

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.errors import LlamaChatError

if TYPE_CHECKING:
    from llama_chat.chat.prompt.attaching import Attachment
    from llama_chat.ui.widgets.prompt import Prompt

_COMMAND = re.compile(r"/[a-z?]+ ")

PATIENCE_S = 0.1
"""A file of 1 MB takes 20 ms. What takes longer than this comes when it is there: nothing waits for it."""


class PromptFiles:
    """Puts files into a prompt.

    Args:
        prompt: that gets them.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._reader = OwnThread("attaching")

    def attach(self, paths: Sequence[Path], *, must: bool = False) -> None:
        """Put the files in where the cursor is: all of them, or none.

        Raises:
            AttachError: only if it `must`, and one of them cannot be attached; else `NotAttached` says it.
        """
        reading = self._reader.do(lambda: _read(paths))
        try:
            self._put_in(reading.result(PATIENCE_S))
        except TimeoutError:
            reading.add_done_callback(self._late)
        except LlamaChatError as error:
            if must:
                raise
            self._refuse(error)

    def take_pasted(self, text: str, start: Location) -> None:
        """Make a chip of what was pasted there, if that was the paths of files; undo brings them back.

        Behind a slash command they stay: it may be what the command takes.
        """
        from llama_chat.chat.prompt.pasted_paths import (  # not needed by the first paint
            dropped_files,
            may_be_paths,
        )

        if not may_be_paths(text) or _COMMAND.match(self._prompt.text):
            return
        end = self._prompt.cursor_location
        reading = self._reader.do(lambda: _read(dropped_files(text)))
        try:
            self._replace(reading.result(PATIENCE_S), start, end)
        except TimeoutError:
            pass  # a path that takes so long stays text
        except LlamaChatError as error:
            self._refuse(error)

    def _replace(self, files: Sequence[Attachment], start: Location, end: Location) -> None:
        if files:
            prompt = self._prompt
            prompt.selection = Selection(start, end)
            self._put_in(files)
            prompt.post_message(prompt.PathTaken([file.name for file in files]))

    def _put_in(self, files: Sequence[Attachment]) -> None:
        self._prompt.history.checkpoint()
        self._prompt.put_in("".join(self._label_of(file) + " " for file in files))

    def _label_of(self, file: Attachment) -> str:
        return self._prompt.chips.add_file(file.name, file.text, file.size_bytes).label

    def _late(self, done: Future[list[Attachment]]) -> None:
        """On the reader's thread: the disk has answered after all."""
        error = done.exception()
        call: Callable[[], object] = lambda: self._put_in(done.result())  # noqa: E731
        if isinstance(error, LlamaChatError):
            call = lambda: self._refuse(error)  # noqa: E731
        self._prompt.call_later(call)

    def _refuse(self, error: LlamaChatError) -> None:
        self._prompt.post_message(self._prompt.NotAttached(error))


def _read(paths: Sequence[Path]) -> list[Attachment]:
    from llama_chat.chat.prompt.attaching import path_of, read_attachment  # not needed by the first paint

    return [read_attachment(path_of(str(path))) for path in paths]
