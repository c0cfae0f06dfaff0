"""The text of a user's message as lines: words letter by letter, and each file folded under its name."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from llama_chat.markup.attached import AttachedFile, parts_of
from llama_chat.sanitize import sanitize
from llama_chat.ui.markdown import Line
from llama_chat.ui.markdown.line import EMPTY, fold, wrap
from llama_chat.ui.transcript.bodies import TAB_SIZE
from llama_chat.ui.transcript.thinking import THOUGHT, Folds
from llama_chat.units import bytes_text

SHOWN_LINES = 2_000
"""Of a file that is unfolded; all of it is in the message."""
_EDGE = Content.styled("┊ ", "thought")


@dataclass(slots=True)
class _Part:
    """Words, or a file."""

    number: int | None
    """Of the file; None for words."""
    source: str | AttachedFile


def folded_text(text: str) -> str:
    """The text with one line for each file: about what is drawn of it."""
    return "\n".join(
        part.name if isinstance(part, AttachedFile) else part.strip("\n") for part in parts_of(text)
    )


class SaidBody:
    """What a user has said, with files in it. It arrives whole.

    Args:
        width: cells for the text.
        folds: which of the files the user has unfolded.
    """

    def __init__(self, width: int, folds: Folds) -> None:
        self._width = width
        self._folds = folds
        self._text = ""
        self._parts: list[_Part] = []
        self._lines: list[Line] = []

    @property
    def lines(self) -> list[Line]:
        """As they are drawn now."""
        return self._lines

    @property
    def tail_length(self) -> int:
        """All of it."""
        return len(self._text)

    def append(self, text: str) -> int:
        """0, after all lines were made again."""
        self._text += text
        parts = list(parts_of(self._text))
        numbers = iter(range(len(parts)))
        self._parts = [
            _Part(next(numbers) if isinstance(each, AttachedFile) else None, each) for each in parts
        ]
        return self.refold()

    def finish(self) -> int:
        """How many lines there are: none has changed."""
        return len(self._lines)

    def refold(self) -> int:
        """0, after `Folds` has changed."""
        self._lines = [line for part in self._parts for line in self._drawn(part)]
        return 0

    def is_folded(self, number: int) -> bool:
        """Whether the text of this file is folded away."""
        return self._folds.chosen.get(number, True)

    def texts(self) -> list[tuple[int | None, str]]:
        """The text in order: the number of a file, or None, and what it says."""
        return [
            (part.number, part.source.text if isinstance(part.source, AttachedFile) else part.source)
            for part in self._parts
        ]

    def _drawn(self, part: _Part) -> list[Line]:
        if isinstance(part.source, str):
            words = sanitize(part.source).expandtabs(TAB_SIZE).strip("\n")
            return wrap(Content(words), self._width) if words.strip() else []
        assert part.number is not None
        head = self._head(part.source, part.number)
        return [head] if self.is_folded(part.number) else [head, *self._file_lines(part.source)]

    def _head(self, file: AttachedFile, number: int) -> Line:
        sign = "▸" if self.is_folded(number) else "▾"
        lines = f"{file.lines:,} line{'' if file.lines == 1 else 's'}"
        words = f"{sign} {sanitize(file.name)} · {lines} · {bytes_text(file.bytes)}"
        head = Content.styled(words, "thought.head").truncate(self._width, ellipsis=True)
        return Line(EMPTY, prefix=head, action=f"{THOUGHT} {number}")

    def _file_lines(self, file: AttachedFile) -> list[Line]:
        width = max(1, self._width - len(_EDGE))
        shown = file.text.split("\n")[:SHOWN_LINES]
        drawn = [
            line._replace(prefix=_EDGE + line.prefix)
            for source in shown
            for line in fold(Content(sanitize(source).expandtabs(TAB_SIZE)), width)
        ]
        if (rest := file.lines - len(shown)) > 0:
            drawn.append(Line(EMPTY, prefix=_EDGE + Content.styled(f"… {rest:,} more lines", "thought.head")))
        return drawn
