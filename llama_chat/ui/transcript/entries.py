"""Messages and notices as rows: a height that is estimated first, rows when they come near the view."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Literal

from textual.content import Content
from textual.strip import Strip

from llama_chat.conversation import Message, Role
from llama_chat.markup.attached import has_files
from llama_chat.markup.thoughts import CLOSE, OPEN
from llama_chat.sanitize import sanitize
from llama_chat.ui.markdown import Line
from llama_chat.ui.markdown.line import EMPTY, wrap
from llama_chat.ui.transcript.bodies import Body, PlainBody, estimate_lines
from llama_chat.ui.transcript.code_heads import COPY, is_code_head, with_sign
from llama_chat.ui.transcript.heads import foot_lines, head_line
from llama_chat.ui.transcript.rows import BLANK_ROW, Row
from llama_chat.ui.transcript.said import SaidBody, folded_text
from llama_chat.ui.transcript.thinking import Folds, ReplyBody

if TYPE_CHECKING:
    from llama_chat.markup.code_blocks import CodeBlock

NoticeKind = Literal["info", "warning", "error"]
GO_ON = "go on"
"""What a click on the foot of a reply does that can go on."""
_NOTICE_SIGNS = {"info": "· ", "warning": "! ", "error": "✗ "}


class Entry:
    """Something in the transcript. Its last row is empty: it parts it from what follows."""

    def __init__(self) -> None:
        self.width = 0
        self.height = 1
        self.rows: list[Row] | None = None
        """None while the height is an estimate."""
        self.version = 0
        """Another number whenever the rows are others."""
        self.strips: dict[int, Strip] = {}
        """Painted rows by index; whoever changes rows or colours takes them out."""

    def resize(self, width: int) -> None:
        """Take a new text width; the height is an estimate again."""
        self.width = width
        self.rows = None
        self.strips.clear()
        self.height = self._estimate()

    def lay_out(self) -> list[Row]:
        """The rows, made now unless they have been; `height` is exact afterwards."""
        if self.rows is None:
            self.rows = self._build()
            self.version += 1
            self.height = len(self.rows)
        return self.rows

    def _estimate(self) -> int:
        raise NotImplementedError

    def _build(self) -> list[Row]:
        raise NotImplementedError


class NoticeEntry(Entry):
    """A line of the program's own.

    Args:
        text: what it says.
        kind: how loud.
        about: what it is about, so that it can be taken away when it is true no longer.
        before: id of the message that it belongs right above; None for one that came with time.
    """

    def __init__(self, text: str, kind: NoticeKind, about: str = "", before: str | None = None) -> None:
        super().__init__()
        self.about = about
        self.before = before
        self._text = sanitize(text).strip()
        self._kind = kind

    def _estimate(self) -> int:
        return estimate_lines(self._text, self.width) + 1

    def _build(self) -> list[Row]:
        sign = _NOTICE_SIGNS[self._kind]
        style = f"notice.{self._kind}"
        lines = wrap(Content.styled(self._text, style), self.width - len(sign))
        marks = [Content.styled(sign, style), *[Content(" " * len(sign))] * (len(lines) - 1)]
        rows = [Row(line._replace(prefix=mark)) for line, mark in zip(lines, marks, strict=True)]
        return [*rows, BLANK_ROW]


class MessageEntry(Entry):
    """A message: head, text with an accent bar, foot."""

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.message = message
        self.live_head: str | None = None
        self.place: tuple[int, int] | None = None
        self.is_marked = False
        """Whether it is what was searched for."""
        self.is_chosen = False
        """Whether the cursor is on it."""
        self.folds = Folds()
        """What of its thoughts is folded away."""
        self.offer = ""
        """What can be done about a reply that did not come to its end; empty: nothing."""
        self.updated_at = 0.0
        """When its text was last drawn, on the clock of whoever streams it."""
        self._text = [message.text]
        self._pending: list[str] = []
        self._body: Body | None = None
        self._code_heads: list[int] = []
        """Lines of the body above a code block of the answer."""

    @property
    def text(self) -> str:
        """All of the text, drawn or not."""
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0]

    @property
    def is_open(self) -> bool:
        """Whether a reply is still being written into it."""
        return self.message.reply is not None and self.message.reply.finish_reason is None

    @property
    def has_thoughts(self) -> bool:
        """Whether the model thought before it answered, as far as that can be told at a glance."""
        return self.message.role is Role.ASSISTANT and (OPEN in self.text or CLOSE in self.text)

    @property
    def has_files(self) -> bool:
        """Whether the user gave the model files with it, as far as that can be told at a glance."""
        return self.message.role is Role.USER and has_files(self.text)

    @property
    def tail_length(self) -> int:
        """How many characters the next `draw_pending` will parse again."""
        return self._body.tail_length if self._body else 0

    def append(self, text: str) -> None:
        """Add to the text; `draw_pending` draws it."""
        self._text.append(text)
        if self.rows is not None:
            self._pending.append(text)
        else:
            self.height = max(self.height, 3)

    def draw_pending(self) -> int:
        """The index of the first row that has changed, after all of the text was drawn."""
        if self.rows is None or self._body is None:
            self.lay_out()
            return 0
        text, self._pending = "".join(self._pending), []
        was_empty = not self._body.lines
        changed = self._body.append(text) if text else len(self._body.lines)
        return self._replace_rows(0 if was_empty else changed)

    def replace(self, message: Message) -> None:
        """Take the final record; the text is laid out anew only if it is not the one that was streamed."""
        is_closed = not self.is_open
        same = message.text == self.text and message.role is self.message.role
        self.message = message
        self.live_head = None
        self._text = [message.text]
        if not same or self._body is None or (is_closed and self.is_open):
            self.resize(self.width)
            return
        self.draw_pending()
        if not self.is_open:
            self._body.finish()
        self._replace_rows(0)
        self.strips.clear()

    def make_offer(self, offer: str) -> int | None:
        """The first row that has changed, now that the foot offers this; None where nothing is drawn yet."""
        self.offer = offer
        if self.rows is None or self._body is None:
            return None
        return self._replace_rows(len(self._body.lines))

    def refold(self) -> int:
        """The first row that has changed, after `folds` has."""
        if self.rows is None or not isinstance(self._body, ReplyBody | SaidBody):
            self.resize(self.width)
            return 0
        return self._replace_rows(self._body.refold())

    def code_block(self, row: int) -> CodeBlock | None:
        """The code block that this row is the head of."""
        return self._body.code_block(row - 1) if isinstance(self._body, ReplyBody) else None

    def code_number(self, row: int) -> int:
        """Which of the answer's code blocks this row is the head of, from 1; 0 for none."""
        return self._code_heads.index(row - 1) + 1 if row - 1 in self._code_heads else 0

    def redraw_thought_head(self) -> int | None:
        """The row of the last thought's head, made anew; None where there is none to see."""
        line = self._body.redraw_last_head() if isinstance(self._body, ReplyBody) else None
        if line is None or self.rows is None or self._body is None:
            return None
        self.rows[1 + line] = Row(self._body.lines[line], self._bar)
        self.strips.pop(1 + line, None)
        return 1 + line

    def is_folded(self, number: int) -> bool:
        """Whether this thought is folded away."""
        return isinstance(self._body, ReplyBody | SaidBody) and self._body.is_folded(number)

    def thought_texts(self) -> list[tuple[int | None, str]]:
        """The text in order: the number of a thought, or None, and what it says."""
        self.lay_out()
        return self._body.texts() if isinstance(self._body, ReplyBody | SaidBody) else [(None, self.text)]

    def mark(self, is_marked: bool) -> None:
        """Mark it as what was searched for, or as nothing special."""
        self.is_marked = is_marked
        self.strips.clear()
        if self.rows is not None:
            self.rows = self._build()

    def redraw_head(self) -> None:
        """Make the first row again."""
        if self.rows is not None:
            self.rows[0] = self._head()
            self.strips.pop(0, None)

    def _estimate(self) -> int:
        self._body = None
        self._pending.clear()
        reply = self.message.reply
        has_foot = reply is not None and reply.finish_reason not in (None, "end")
        text = self.text
        if self.folds.is_default and self.has_thoughts:
            text = text.rpartition(CLOSE)[2]
        elif self.has_files:
            text = folded_text(text)
        return estimate_lines(text, self.width) + 2 + has_foot

    def _build(self) -> list[Row]:
        is_model = self.message.role is Role.ASSISTANT
        if is_model:
            self._body = ReplyBody(self.width, self.folds)
        else:
            self._body = SaidBody(self.width, self.folds) if self.has_files else PlainBody(self.width)
        self._body.append(self.text)
        if not self.is_open:
            self._body.finish()
        return [self._head(), *self._body_rows(0), *self._foot()]

    def _replace_rows(self, changed: int) -> int:
        """Take the body's lines from this one on; the index of the row that it is in."""
        assert self.rows is not None
        assert self._body is not None
        first = 1 + changed
        for number in range(first, len(self.rows)):
            self.strips.pop(number, None)
        self.rows[first:] = [*self._body_rows(changed), *self._foot()]
        if changed == 0:
            self.redraw_head()
        self.height = len(self.rows)
        self.version += 1
        return first

    def _body_rows(self, first: int) -> list[Row]:
        """The rows of the body's lines from this one on; code blocks are counted in their heads."""
        assert self._body is not None
        bar = self._bar
        del self._code_heads[bisect_left(self._code_heads, first) :]
        rows: list[Row] = []
        for number, line in enumerate(self._body.lines[first:], first):
            if is_code_head(line):
                is_counted = line.action == COPY
                self._code_heads += [number] if is_counted else []
                line = with_sign(line, len(self._code_heads) if is_counted else None, self.width)
            rows.append(Row(line, bar))
        return rows

    def _head(self) -> Row:
        head = head_line(self.message, self.width, live=self.live_head, place=self.place)
        if self.is_chosen:
            return Row(Line(EMPTY, prefix=head, fill="chosen"), "bar.chosen")
        return Row(Line(EMPTY, prefix=head), self._bar if self.is_marked else "")

    @property
    def _bar(self) -> str:
        return "bar.found" if self.is_marked else f"bar.{self.message.role}"

    def _foot(self) -> list[Row]:
        bar = self._bar
        rows: list[Row] = []
        assert self._body is not None
        foot = foot_lines(self.message.reply, self.offer, self.width)
        if not self._body.lines and not foot:
            words = "…" if self.is_open else "(empty)"
            rows.append(Row(Line(EMPTY, prefix=Content.styled(words, "placeholder")), bar))
        action = GO_ON if self.offer else ""
        rows += [Row(Line(EMPTY, prefix=content, action=action), bar) for content in foot]
        return [*rows, BLANK_ROW]
