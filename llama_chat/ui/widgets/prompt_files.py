"""Files into the prompt: read beside the screen, put in as chips; a pasted path becomes its file."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.document._document import Location

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.errors import LlamaChatError

if TYPE_CHECKING:
    from llama_chat.chat.prompt.attaching import Attachment
    from llama_chat.ui.widgets.prompt import Prompt

_COMMAND = re.compile(r"/[a-z?]+ ")
_log = logging.getLogger(__name__)

PATIENCE_S = 0.01
"""A file of 100 kB takes 2 ms. What takes longer than this comes when it is there: no key waits for it."""

STUCK_S = 1.0
"""A disk that has not answered for so long holds up no other file: that is read on another thread."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where files go: into the place of what stands between two locations."""

    start: Location
    end: Location
    before: str
    """What stood up to the end: as long as it stands there, that is the place."""


class PromptFiles:
    """Puts files into a prompt.

    Args:
        prompt: that gets them.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._reader = OwnThread("attaching")
        self._reading: Future[list[Attachment]] | None = None
        self._began_s = 0.0

    def attach(self, find: Callable[[], Sequence[Path]], command: str = "") -> None:
        """Put the files in where the cursor is: all of them, or none, and then `NotAttached` says why.

        Args:
            find: which ones; it may ask the disk.
            command: of the user's, that wanted it.
        """
        place = self._place(self._prompt.cursor_location)

        def take(files: Sequence[Attachment]) -> None:
            self._put_in(files, place if self._stands(place) else self._place(self._prompt.cursor_location))

        self._read(find, take, command)

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
        place = self._place(start)

        def take(files: Sequence[Attachment]) -> None:
            if files and self._stands(place):
                self._put_in(files, place)
                self._prompt.post_message(self._prompt.PathTaken([file.name for file in files]))

        self._read(lambda: dropped_files(text), take)

    def _place(self, start: Location) -> _Place:
        end = self._prompt.cursor_location
        return _Place(start, end, self._prompt.get_text_range((0, 0), end))

    def _stands(self, place: _Place) -> bool:
        return self._prompt.text.startswith(place.before)

    def _put_in(self, files: Sequence[Attachment], place: _Place) -> None:
        prompt = self._prompt
        prompt.history.checkpoint()
        labels = "".join(self._label_of(file) + " " for file in files)
        is_here = prompt.cursor_location == place.end
        done = prompt.replace(labels, place.start, place.end)  # the cursor stays where it is in the text
        if is_here:
            prompt.move_cursor(done.end_location)

    def _label_of(self, file: Attachment) -> str:
        return self._prompt.chips.add_file(file.name, file.text, file.size_bytes).label

    # --- the disk -------------------------------------------------------------------------------------

    def _read(
        self,
        find: Callable[[], Sequence[Path]],
        take: Callable[[Sequence[Attachment]], object],
        command: str = "",
    ) -> None:
        """Read the files; they are taken at once if they are there at once, else as soon as they are."""
        is_free = self._reading is None or self._reading.done()
        if not is_free and time.monotonic() - self._began_s > STUCK_S:
            self._reader, is_free = OwnThread("attaching"), True
        self._began_s = time.monotonic()
        self._reading = reading = self._reader.do(lambda: _read(find))
        if is_free and wait_for((reading,), PATIENCE_S).done:
            self._finish(reading, take, command)
            return

        def late(done: Future[list[Attachment]]) -> None:  # on the reader's thread
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self._prompt.call_later(self._finish, done, take, command)

        reading.add_done_callback(late)

    def _finish(
        self,
        reading: Future[list[Attachment]],
        take: Callable[[Sequence[Attachment]], object],
        command: str,
    ) -> None:
        error = reading.exception()
        if error is None:
            take(reading.result())
            return
        if not isinstance(error, LlamaChatError):
            _log.error("a file could not be attached", exc_info=error)
            error = LlamaChatError(f"That cannot be attached: {error}.")
        self._prompt.post_message(self._prompt.NotAttached(error, command=command))


def _read(find: Callable[[], Sequence[Path]]) -> list[Attachment]:
    from llama_chat.chat.prompt.attaching import read_attachment  # not needed by the first paint

    return [read_attachment(path) for path in find()]
