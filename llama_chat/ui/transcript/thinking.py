"""The text of a reply as lines: answers as Markdown, thoughts dimmed under a line that folds them away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.content import Content

from llama_chat.chat.thoughts import ThoughtFigures
from llama_chat.chat.words import format_tokens
from llama_chat.markup.thoughts import Kind, Piece, ThoughtParser
from llama_chat.ui.markdown import Document, Line
from llama_chat.ui.markdown.blocks import BLANK
from llama_chat.ui.markdown.line import EMPTY
from llama_chat.ui.transcript.code_heads import COPY, COPY_THOUGHT, is_code_head

if TYPE_CHECKING:
    from llama_chat.markup.code_blocks import CodeBlock

THOUGHT = "thought"
"""What a click on the head of a thought does: this word, and which thought of the message it is."""
_EDGE = Content.styled("┊ ", "thought")


@dataclass(slots=True)
class Folds:
    """What of a message is folded away, whatever becomes of its lines."""

    is_default: bool = True
    """Whether thoughts that are over fold by themselves."""
    chosen: dict[int, bool] = field(default_factory=dict)
    """Thoughts, by their number, that the user has folded (True) or unfolded."""
    keeps_open: bool = False
    """Whether a thought that ends now stays open, because it is being read."""
    figures: Sequence[ThoughtFigures | None] = ()
    """Of each thought, where they are known."""

    def is_folded(self, number: int, *, is_closed: bool) -> bool:
        """Whether the thought is folded; one that never ended folds only if the user says so."""
        return self.chosen.get(number, self.is_default and is_closed)


class _Section:
    """A thought, or what stands between two of them."""

    def __init__(self, width: int, thought: int | None) -> None:
        self.thought = thought
        inner = width - len(_EDGE) if thought is not None and width > 2 * len(_EDGE) else width
        self.edge = _EDGE if inner < width else EMPTY
        self.document = Document(inner)
        self.source: list[str] = []
        self.is_closed = False
        self.start = 0
        """Its first line in the body."""

    @property
    def text(self) -> str:
        if len(self.source) > 1:
            self.source = ["".join(self.source)]
        return self.source[0] if self.source else ""

    def add(self, text: str) -> int:
        """The first line of its document that has changed."""
        self.source.append(text)
        return self.document.append(text)

    def dimmed(self, first: int) -> list[Line]:
        """The lines of a thought from this one on."""
        return [
            line._replace(
                prefix=self.edge + line.prefix,
                content=line.content.stylize_before("thought"),
                action=COPY_THOUGHT if line.action == COPY else line.action,
            )
            for line in self.document.lines[first:]
        ]


class ReplyBody:
    """What a model wrote, whatever the pieces it arrives in.

    Args:
        width: cells for the text.
        folds: what of it is folded.
    """

    def __init__(self, width: int, folds: Folds) -> None:
        self._width = width
        self._folds = folds
        self._parser = ThoughtParser()
        self._sections = [_Section(width, None)]
        self._lines: list[Line] = []
        self._is_over = False

    @property
    def lines(self) -> list[Line]:
        """As they are drawn now."""
        return self._lines if self.thought_count else self._sections[0].document.lines

    @property
    def thought_count(self) -> int:
        """How many thoughts there are, empty ones included."""
        return sum(section.thought is not None for section in self._sections)

    @property
    def tail_length(self) -> int:
        """How many characters the next `append` will work on again."""
        return self._sections[-1].document.tail_length

    def append(self, text: str) -> int:
        """The index of the first line that has changed, after this text was added."""
        return min(map(self._take, self._parser.feed(text)), default=len(self.lines))

    def finish(self) -> int:
        """The index of the first line that has changed, now that no more is expected."""
        changed = min(map(self._take, self._parser.finish()), default=len(self.lines))
        section = self._sections[-1]
        self._is_over = True
        first = section.document.finish()
        if not self.thought_count:
            return min(changed, first)
        return min(changed, self._redraw(len(self._sections) - 1))

    def refold(self) -> int:
        """The index of the first line that has changed, after `Folds` has."""
        return self._redraw(0) if self.thought_count else len(self.lines)

    def is_folded(self, number: int) -> bool:
        """Whether this thought is folded away."""
        return any(each.thought == number and self._is_folded(each) for each in self._sections)

    def redraw_last_head(self) -> int | None:
        """The line of the last thought's head, made anew; None where nothing of it is seen."""
        place = next(
            (n for n, each in reversed([*enumerate(self._sections)]) if each.thought is not None), None
        )
        if place is None or not (head := self._head(self._sections[place])):
            return None
        section = self._sections[place]
        number = section.start + self._gap(place)
        self._lines[number] = head[0]
        return number

    def texts(self) -> list[tuple[int | None, str]]:
        """The text in order: the number of the thought, or None, and what it says."""
        return [(section.thought, section.text) for section in self._sections]

    def code_block(self, line: int) -> CodeBlock | None:
        """The code block that this line is the head of, as far as it is written."""
        from llama_chat.markup.code_blocks import blocks_within

        section = next((each for each in reversed(self._sections) if each.start <= line), self._sections[0])
        blocks = blocks_within(section.text)
        number = sum(map(is_code_head, self.lines[section.start : line]))
        return blocks[number] if number < len(blocks) else None

    # --- how it grows -----------------------------------------------------------------------------

    def _take(self, piece: Piece) -> int:
        place = len(self._sections) - 1
        match piece.kind:
            case Kind.OPENING:
                self._sections[place].document.finish()
                return min(self._redraw(place), self._begin(self.thought_count))
            case Kind.CLOSING:
                self._sections[place].is_closed = True
                if self._folds.keeps_open:
                    self._folds.chosen.setdefault(self.thought_count - 1, False)
                self._sections[place].document.finish()
                return min(self._redraw(place), self._begin(None))
            case Kind.CLOSING_ALL:
                text = self._sections[0].text
                self._sections, self._lines = [_Section(self._width, 0)], []
                self._sections[0].add(text)
                return min(self._take(piece._replace(kind=Kind.CLOSING)), 0)
        return self._grow(place, piece.text)

    def _begin(self, thought: int | None) -> int:
        section = _Section(self._width, thought)
        section.start = len(self._lines)
        self._sections.append(section)
        return self._redraw(len(self._sections) - 1)

    def _grow(self, place: int, text: str) -> int:
        section = self._sections[place]
        had_lines = bool(section.document.lines)
        changed = section.add(text)
        if not self.thought_count:
            return changed
        if not had_lines or self._is_folded(section):
            return self._redraw(place)
        first = section.start + self._gap(place) + (section.thought is not None)
        lines = section.document.lines[changed:] if section.thought is None else section.dimmed(changed)
        self._lines[first + changed :] = lines
        return first + changed

    def _redraw(self, place: int) -> int:
        """The first line of this section, after it and all below it were drawn anew."""
        start = self._sections[place].start
        del self._lines[start:]
        for number in range(place, len(self._sections)):
            section = self._sections[number]
            section.start = len(self._lines)
            self._lines += self._drawn(number)
        return start

    def _drawn(self, place: int) -> list[Line]:
        section = self._sections[place]
        gap = [BLANK] * self._gap(place)
        if section.thought is None:
            return [*gap, *section.document.lines] if section.document.lines else []
        head = self._head(section)
        if not head:
            return []
        return [*gap, *head, *([] if self._is_folded(section) else section.dimmed(0))]

    def _gap(self, place: int) -> int:
        return int(self._sections[place].start > 0)

    # --- the line above a thought -----------------------------------------------------------------

    def _is_folded(self, section: _Section) -> bool:
        return section.thought is not None and self._folds.is_folded(
            section.thought, is_closed=section.is_closed
        )

    def _head(self, section: _Section) -> list[Line]:
        """One line; none for a thought that was left empty."""
        number = section.thought
        is_over = section.is_closed or self._is_over
        if number is None or (is_over and not section.text.strip()):
            return []
        figures = self._folds.figures[number] if number < len(self._folds.figures) else None
        words = thought_words(section.text, figures, is_closed=section.is_closed, is_over=is_over)
        sign = "▸" if self._is_folded(section) else "▾"
        head = Content.styled(f"{sign} {words}", "thought.head").truncate(self._width, ellipsis=True)
        return [Line(EMPTY, prefix=head, action=f"{THOUGHT} {number}")]


def thought_words(text: str, figures: ThoughtFigures | None, *, is_closed: bool, is_over: bool) -> str:
    """`thought for 12 s · 240 tokens`; the number of words where there are no figures."""
    if figures is None or not figures.tokens:
        count = len(text.split())
        length, seconds = f"{count:,} word{'' if count == 1 else 's'}", ""
    else:
        length, seconds = format_tokens(figures.tokens), format_seconds(figures.seconds)
    if is_closed:
        return f"thought for {seconds} · {length}" if seconds else f"thought · {length}"
    doing = "thinking, broken off:" if is_over else "thinking…"
    return f"{doing} {' · '.join(filter(None, (seconds, length)))}"


def format_seconds(seconds: float) -> str:
    """`0.4 s`, `12 s`, `2 min 5 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
