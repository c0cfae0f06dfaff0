"""Code as coloured lines; pygments is loaded when the first fence with a language is drawn."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from textual.content import Content, Span

from llama_chat.ui.markdown.line import EMPTY, Line, fold

if TYPE_CHECKING:
    from pygments.lexer import Lexer

TAB_SIZE = 4
MAX_LINES = 2_000
"""A longer fence gets no colours: lexing 1,000 lines of Python takes 86 ms (2025-11), once, at its close."""
MAX_LINE_LENGTH = 2_000
"""Longer lines get no colours: the regular expressions of some lexers take quadratic time."""
COPY = "copy"
"""What a click on the head of a code block does; the transcript puts the sign there that is clicked."""
_SIGN_CELLS = 12
_SHORT_SIGN_CELLS = 2
_ROOM_FOR_SIGN = 26
"""From here on there is room for all of the sign beside a name."""

_STYLES = {
    "Comment": "code.comment", "Comment.Preproc": "code.keyword", "Keyword": "code.keyword",
    "Keyword.Constant": "code.number", "Keyword.Type": "code.type", "Operator.Word": "code.keyword",
    "Name.Builtin": "code.type", "Name.Builtin.Pseudo": "code.keyword", "Name.Class": "code.type",
    "Name.Decorator": "code.function", "Name.Exception": "code.type", "Name.Function": "code.function",
    "Name.Attribute": "code.function", "Name.Tag": "code.keyword", "Name.Variable": "code.function",
    "Literal.Number": "code.number", "Literal.String": "code.string", "Literal.Date": "code.number",
    "Generic.Inserted": "code.string", "Generic.Deleted": "code.keyword", "Generic.Heading": "code.function",
    "Generic.Subheading": "code.function", "Generic.Prompt": "code.comment",
}  # fmt: skip

# What the newline at the end belongs to when a string or a comment of several lines is open.
_GOES_ON = ("Token.Literal.String", "Token.Comment.Multiline")


def code_block(code: str, info: str, width: int) -> list[Line]:
    """The lines of a whole code block: its head and its code."""
    lines = head_lines(info, width)
    for content in highlight(split_code(code), info):
        lines.extend(code_lines(content, width))
    return lines


def split_code(code: str) -> list[str]:
    """The lines of code, with tabs as spaces, without the newline that ends the last."""
    return code.removesuffix("\n").expandtabs(TAB_SIZE).split("\n")


def head_lines(info: str, width: int) -> list[Line]:
    """The words after the fence, above the code, with room for a sign at the right end of the first line.

    They are not copied; an empty one is no line of what is copied, either.
    """
    label = Content.styled(" ".join(info.split()), "code.label")
    room = width - 2 - (_SIGN_CELLS if width >= _ROOM_FOR_SIGN else _SHORT_SIGN_CELLS)
    first, *others = fold(label, max(1, room))
    edge = Content(" ")
    head = Line(EMPTY, prefix=edge + first.content, fill="code", joint=None if label else "", action=COPY)
    return [head, *(Line(EMPTY, prefix=edge + line.content, fill="code") for line in others)]


def code_lines(content: Content, width: int) -> list[Line]:
    """One line of code, cut at the width."""
    edge = Content(" ")
    return [line._replace(prefix=edge) for line in fold(content, max(1, width - 2), fill="code")]


def highlight(source: list[str], info: str) -> list[Content]:
    """The lines in colours; without, where the language is not known."""
    return highlight_open(source, info)[0]


def highlight_open(source: list[str], info: str) -> tuple[list[Content], bool]:
    """The lines in colours, and whether they end inside of a string or comment that goes on below."""
    language = info.split(maxsplit=1)[0].strip("{}.,").lower() if info.split() else ""
    lexer = _load_lexer(language) if language and len(source) <= MAX_LINES else None
    if lexer is None or any(len(line) > MAX_LINE_LENGTH for line in source):
        return [Content(line) for line in source], False
    text = "\n".join(source)
    spans: list[Span] = []
    position = 0
    kind = ""
    for token_type, token in lexer.get_tokens(text):
        kind = str(token_type)
        end = position + len(token)
        if style := _style_of(kind):
            spans.append(Span(position, end, style))
        position = end
    lines = Content(text, spans=_within(spans, len(text))).split("\n", allow_blank=True)
    if len(lines) != len(source):
        lines = [Content(line) for line in source]
    return lines, kind.startswith(_GOES_ON)


def _within(spans: list[Span], length: int) -> list[Span]:
    """The lexer ends its text with a newline of its own, which no span may reach."""
    return [Span(start, min(end, length), style) for start, end, style in spans if start < length]


@lru_cache(maxsize=512)
def _style_of(kind: str) -> str:
    name = kind.removeprefix("Token.")
    while name:
        if name in _STYLES:
            return _STYLES[name]
        name = name.rpartition(".")[0]
    return ""


@lru_cache(maxsize=64)
def _load_lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=True)
    except ClassNotFound:
        return None
