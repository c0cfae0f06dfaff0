"""What the user says, line by line: typed at a terminal, or out of a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TextIO

from llama_chat.cli.talk import say
from llama_chat.errors import PromptError
from llama_chat.sanitize import is_safe

FENCE = '"""'
"""A line of nothing else begins and ends words of several lines."""
PASTE_END = "/end"
GOES_ON = "\\"
_MORE = "...: "


class LineReader:
    """Turns out of lines.

    A line that ends in a backslash goes on in the next one; lines between two of three quotation marks, or
    typed after `/paste`, belong together.

    Args:
        stdin: where they come from; None is one that is closed.
        is_edited: whether a person types them, on a terminal that shows the prompt, too.
    """

    def __init__(self, stdin: TextIO | None, *, is_edited: bool) -> None:
        self._stdin = stdin
        self.is_terminal = stdin is not None and stdin.isatty()
        self._readline = _load_readline() if is_edited else None
        self._is_edited = is_edited

    def can_show(self, words: str) -> bool:
        """Whether words can be put into the line for the user to change them: the editor shows them raw."""
        return self._readline is not None and is_safe(words)

    def read(self, prompt: str, words: str = "") -> str:
        """What the user says next.

        Args:
            prompt: shown before it at a terminal.
            words: that stand in the line already, where that is possible.

        Raises:
            EOFError: there is nothing more.
            PromptError: what came is not text.
        """
        line = self._line(prompt, words)
        if line.strip() == FENCE:
            return self._lines_until(FENCE)
        while line.endswith(GOES_ON):
            try:
                line = f"{line[:-1]}\n{self._line(_MORE)}"
            except EOFError:
                return line[:-1]
        return line

    def read_pasted(self) -> str:
        """The lines up to one that says `/end`, or to the end of what there is."""
        return self._lines_until(PASTE_END)

    def _lines_until(self, end: str) -> str:
        lines: list[str] = []
        try:
            while (line := self._line(_MORE)).strip() != end:
                lines.append(line)
        except EOFError:
            if not lines:
                raise
        return "\n".join(lines)

    def _line(self, prompt: str, words: str = "") -> str:
        try:
            if self._is_edited:
                return self._typed(prompt, words)
            if self.is_terminal:
                print(prompt, end="", file=sys.stderr, flush=True)
            line = self._stdin.readline() if self._stdin is not None else ""
        except UnicodeDecodeError as error:
            raise PromptError("What came in is not UTF-8 text.") from error
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    def _typed(self, prompt: str, words: str) -> str:
        if self._readline is None or not words:
            return input(prompt)
        insert: Callable[[str], object] = self._readline.insert_text
        self._readline.set_startup_hook(lambda: insert(words))
        try:
            return input(prompt)
        finally:
            self._readline.set_startup_hook(None)


def _load_readline() -> ModuleType | None:
    """Python's line editor with its history, where there is one.

    Imported for a terminal only: it may write to the terminal as soon as it is there.
    """
    try:
        import readline
    except ImportError:  # Windows, where the terminal edits lines by itself
        return None
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        readline.parse_and_bind("set enable-bracketed-paste off")  # its sequences would be seen
    return readline


def tell_how_to_paste() -> None:
    """How words of several lines end."""
    say(f"Paste or type the lines; a line of {PASTE_END} alone, or Ctrl+D, sends them.")
