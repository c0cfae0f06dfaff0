"""A text on its way to the clipboard: programs are tried on a thread of their own, then the terminal."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.errors import StoreError
from llama_chat.paths import write_atomically
from llama_chat.ui.clipboard import OSC52_MOST_BYTES, TMUX, Tool, Ways, encoded, terminal_sequence


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of the programs."""

    tool: str = ""
    """The one that took the text; empty: none."""
    is_in_tmux: bool = False
    failures: tuple[str, ...] = ()
    """What the others said, in words."""


def run_tool(tool: Tool, data: bytes) -> str:
    """Give the program the bytes; empty when it took them, else what went wrong.

    It is in a session of its own: what holds the clipboard (xclip, wl-copy) outlives the chat and its
    terminal. Nothing of what it prints is read, since the part of it that stays would keep a pipe open.
    """
    try:
        process = subprocess.Popen(
            [tool.name, *tool.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"{tool.name} could not be started ({error.strerror or error})"
    try:
        process.communicate(data, timeout=tool.timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"{tool.name} gave no answer"
    except OSError as error:
        process.kill()
        process.wait()
        return f"{tool.name} did not take it ({error.strerror or error})"
    return f"{tool.name} failed" if process.returncode else ""


def try_tools(ways: Ways, data: bytes, run: Callable[[Tool, bytes], str] = run_tool) -> Attempt:
    """Give the text to the first program that takes it, and to tmux. May take seconds."""
    failures: list[str] = []
    taken = ""
    for tool in ways.tools:
        if failure := run(tool, data):
            failures.append(failure)
        else:
            taken = tool.name
            break
    is_in_tmux = ways.terminal == "tmux" and not run(TMUX, data)
    return Attempt(taken, is_in_tmux, tuple(failures))


def must_tell_terminal(ways: Ways, attempt: Attempt, size_bytes: int) -> bool:
    """Whether the sequence goes to the terminal."""
    if ways.terminal == "none" or attempt.is_in_tmux or size_bytes > OSC52_MOST_BYTES:
        return False
    return not attempt.tool or ways.is_watched_elsewhere


def copied_words(ways: Ways, attempt: Attempt, text: str, what: str, saved: Path | None) -> str:
    """What is known of the copy, in a sentence or two.

    Args:
        ways: that there were.
        attempt: what came of the programs.
        text: that was copied.
        what: its name, as in "Code block 2"; may be empty.
        saved: the file that it was written into, since there was no other way.
    """
    name = f"{what}: " if what else ""
    count = f"{len(text):,} character{'' if len(text) == 1 else 's'}"
    failed = f" {'; '.join(attempt.failures)}." if attempt.failures else ""
    if attempt.tool:
        return f"{_upper(f'{name}copied')} {count} ({attempt.tool})."
    if attempt.is_in_tmux:
        return f"{_upper(f'{name}copied')} {count} into tmux, which passes them on to its terminal.{failed}"
    if saved is not None:
        why = (
            f"too long for the terminal's clipboard ({count})"
            if ways.terminal != "none"
            else "no clipboard here"
        )
        return f"{_upper(f'{name}{why}')}; saved to {saved}.{failed}"
    return (
        f"{_upper(f'{name}sent')} {count} to the terminal's clipboard (OSC 52); "
        f"whether it took them cannot be known.{failed}"
    )


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def save_instead(text: str, path: Path) -> Path:
    """The private file with the text, which takes the place of the one before.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        write_atomically(path, encoded(text))
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"There is no clipboard here, and {path} cannot be written: {reason}.") from error
    return path


class Copier:
    """Copies one text after the other, by the ways that there are.

    Args:
        ways: that there are.
        write: puts bytes on the terminal; called on the thread of whoever awaits.
        file: takes a text that nothing else takes.
        run: gives a program the bytes.
    """

    def __init__(
        self,
        ways: Ways,
        write: Callable[[str], None],
        file: Path,
        run: Callable[[Tool, bytes], str] = run_tool,
    ) -> None:
        self._ways = ways
        self._write = write
        self._file = file
        self._run = run
        self._thread = OwnThread("clipboard")

    async def copy(self, text: str, what: str = "") -> str:
        """What became of it, in words.

        Raises:
            StoreError: there is no clipboard, and the file cannot be written.
        """
        ways, data = self._ways, encoded(text)
        trying = self._thread.do(lambda: try_tools(ways, data, self._run))
        attempt = await asyncio.wrap_future(trying)
        saved = None
        if must_tell_terminal(ways, attempt, len(data)):
            self._write(terminal_sequence(text, ways.terminal))
        elif not attempt.tool and not attempt.is_in_tmux:
            saved = await asyncio.wrap_future(self._thread.do(lambda: save_instead(text, self._file)))
        return copied_words(ways, attempt, text, what, saved)
