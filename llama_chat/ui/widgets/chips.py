"""Chips: files and long pastes that stand in the prompt as one mark, and are sent as what they hold.

A chip is a stretch of the prompt's text. Its width never changes, so that the steps which undo goes back
stay true; what it says is drawn anew once its tokens are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from llama_chat.markup.attached import AttachedFile, block_of, parts_of
from llama_chat.units import bytes_text

CHIP_FROM_CHARACTERS = 5_000
"""One line of 10,000 characters costs a TextArea 28 ms a key (measured 2026-11), so it never gets one."""

NAME_CELLS = 28
UNFOLD_CHARACTERS = 20_000
UNFOLD_LINE_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Chip:
    """One of them."""

    label: str
    """As it stands in the prompt's text."""
    text: str
    """What is sent in its place."""
    name: str = ""
    """Of the file; empty for a paste."""

    @property
    def can_unfold(self) -> bool:
        """Whether the prompt stays quick with its text in it."""
        return (
            len(self.text) <= UNFOLD_CHARACTERS
            and max(map(len, self.text.split("\n"))) <= UNFOLD_LINE_CHARACTERS
        )

    def drawn(self, tokens: int | None) -> str:
        """What is painted in the place of the label, as wide as that."""
        if tokens is None:
            return self.label
        inner = cell_len(self.label) - 2
        head = _short(self.name) if self.name else "pasted"
        figures = f"{tokens:,} {'tok' if self.name else 'tokens'}"
        if cell_len(head) + 1 + len(figures) > inner:
            figures = f"{tokens:,}"
        room = inner - cell_len(head)
        return f"[{head}{figures.rjust(room)}]" if len(figures) < room else self.label


class Span(NamedTuple):
    """Where a chip is in a line."""

    start: int
    end: int
    chip: Chip


class Chips:
    """Those that the prompt's text has, or may have again when edits are undone."""

    def __init__(self) -> None:
        self._by_label: dict[str, Chip] = {}
        self._pattern: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        return bool(self._by_label)

    def add_paste(self, text: str) -> Chip:
        """A chip for a long text."""
        return self._add(f"pasted {len(text):,} characters", text)

    def add_file(self, name: str, text: str, size_bytes: int) -> Chip:
        """A chip for a file that says so in its text."""
        size, most = bytes_text(size_bytes), f"{max(10, len(text) // 2):,} tok"
        return self._add(f"{_short(name)} {size.rjust(len(most))}", block_of(name, text), name)

    def take(self, chips: Chips) -> None:
        """Know those of another prompt, too."""
        self._by_label |= chips._by_label
        self._pattern = None

    def clashes(self, chips: Chips) -> bool:
        """Whether a label of theirs stands for something else here."""
        own = self._by_label
        return any(own.get(label, chip).text != chip.text for label, chip in chips._by_label.items())

    def copy(self) -> Chips:
        """The same ones."""
        copied = Chips()
        copied.take(self)
        return copied

    def clear(self) -> None:
        """Forget them."""
        self._by_label.clear()
        self._pattern = None

    def folded(self, text: str) -> str:
        """The text with chips for the files that it says, and for all that is too long."""
        marks = []
        for part in parts_of(text):
            if isinstance(part, AttachedFile):
                marks.append(self.add_file(part.name, part.text, part.bytes).label)
            else:
                marks.append(part if len(part) <= CHIP_FROM_CHARACTERS else self.add_paste(part).label)
        return "".join(marks)

    def spans(self, line: str) -> list[Span]:
        """The chips in a line of the prompt."""
        if (pattern := self._compiled()) is None:
            return []
        return [Span(*found.span(), self._by_label[found[0]]) for found in pattern.finditer(line)]

    def parts(self, text: str) -> Iterator[str | Chip]:
        """The text in order, parted at its chips."""
        at = 0
        for start, end, chip in self.spans(text):
            if start > at:
                yield text[at:start]
            yield chip
            at = end
        if at < len(text):
            yield text[at:]

    def unfolded(self, text: str) -> str:
        """What is sent: chips in their places, a file on lines of its own, a paste not stuck to words."""
        sent = ""
        before: Chip | None = None
        for part in self.parts(text):
            if isinstance(part, Chip):
                sent = _behind(sent, part)
                before = part
                continue
            if before is not None and before.name:
                part = part.lstrip(" ")
                part = part if part.startswith("\n") or not part else f"\n{part}"
            elif before is not None and not (part[0].isspace() or sent[-1].isspace()):
                part = f"\n{part}"
            sent += part
            before = None
        return sent

    def _compiled(self) -> re.Pattern[str] | None:
        if self._pattern is None and self._by_label:
            labels = sorted(self._by_label, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, labels)))
        return self._pattern

    def _add(self, words: str, text: str, name: str = "") -> Chip:
        label, n = f"[{words}]", 1
        while label in self._by_label:
            n += 1
            label = f"[{words} #{n}]"
        self._by_label[label] = chip = Chip(label, text, name)
        self._pattern = None
        return chip


def _behind(sent: str, chip: Chip) -> str:
    """What is sent so far, and the chip behind it."""
    if chip.name:
        sent = sent.rstrip(" ")
        return f"{sent}\n{chip.text}" if sent and not sent.endswith("\n") else f"{sent}{chip.text}"
    is_apart = not sent or sent[-1].isspace() or chip.text[0].isspace()
    return f"{sent}{'' if is_apart else chr(10)}{chip.text}"


def _short(name: str) -> str:
    """The file's name without its folder, in the middle cut to what a chip has room for."""
    name = name.rpartition("/")[2] or name
    if cell_len(name) <= NAME_CELLS:
        return name
    tail = name[-9:]
    return set_cell_size(name, NAME_CELLS - 1 - cell_len(tail)).rstrip() + "…" + tail
