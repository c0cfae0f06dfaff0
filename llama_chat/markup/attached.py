"""Files in a message: what the model is given of them, and how they are found in it again.

A file stands in the text of a message under its name, in a fence that is longer than any in the file:

    File: notes.md
    ```md
    - ask the river
    ```

So the stored message holds all that the model saw, whatever becomes of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

_HEADING = re.compile(r"^File: ([^\n]+)\n(`{3,})[^\n`]*\n", re.MULTILINE)
_TICKS = re.compile(r"`{3,}")
_LANGUAGE = re.compile(r"\.([A-Za-z0-9+#-]{1,12})")


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file as it stands in a message."""

    name: str
    text: str
    """Without the newline at its end."""

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.text.count("\n") + 1

    @property
    def bytes(self) -> int:
        """Its size, in UTF-8."""
        return len(self.text.encode("utf-8", "replace"))


def block_of(name: str, text: str) -> str:
    """The file as the model is given it; no newline at the end.

    Args:
        name: one line.
        text: of the file.
    """
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    language = _LANGUAGE.fullmatch(PurePath(name).suffix)
    opening = fence + (language[1].lower() if language else "")
    return "\n".join((f"File: {name}", opening, text.removesuffix("\n"), fence))


def parts_of(text: str) -> Iterator[str | AttachedFile]:
    """The words and the files of a message, in order; with each file as its block they are the text."""
    at = 0
    while (heading := _HEADING.search(text, at)) is not None:
        end = _end_of_fence(text, heading.end(), heading[2])
        if end is None:
            break
        if before := text[at : heading.start()]:
            yield before
        yield AttachedFile(heading[1], text[heading.end() : end])
        at = end + 1 + len(heading[2])
    if rest := text[at:]:
        yield rest


def in_short(text: str) -> str:
    """The text with the name of each file in its place, for a title or a line of a list."""
    if not has_files(text):
        return text
    return "".join(part.name if isinstance(part, AttachedFile) else part for part in parts_of(text))


def has_files(text: str) -> bool:
    """Whether there may be files in the text: quick, and sure where the answer is no."""
    return "File: " in text and _HEADING.search(text) is not None


def _end_of_fence(text: str, start: int, fence: str) -> int | None:
    """Where the line break before the closing fence is; None where nothing closes it."""
    at = text.find(f"\n{fence}", start - 1)
    while at >= 0 and text[at + 1 + len(fence) : at + 2 + len(fence)] not in ("", "\n"):
        at = text.find(f"\n{fence}", at + 1)
    return at if at >= start else None
