"""The text inside a block: emphasis, code spans, and links with their address shown."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from textual.content import Content, Span

from llama_chat.markup.parser import load_parser
from llama_chat.sanitize import sanitize

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_BRACKETS = 100
"""Beyond it brackets are text: markdown-it takes 239 ms for 5,000 of them, and four times that for 10,000."""
MAX_CHARACTERS = 20_000
"""A longer paragraph is drawn as it is: parsing it would stop the screen for tens of milliseconds."""

_STYLES = {"em": "emphasis", "strong": "strong", "s": "strike", "link": "link"}
_ADDRESS = re.compile(r"https?://[^\s<>]+")


@lru_cache(maxsize=1024)
def render_inline(source: str) -> Content:
    """The text of a block, with spans of style names.

    A line break in the source is one on the screen: models do not wrap their lines, so where they break one
    (in a poem, in an address) they mean it.
    """
    if len(source) > MAX_CHARACTERS:
        return Content(_one_line_text(source))
    parser = load_parser(links=source.count("[") <= MAX_BRACKETS)
    tokens: list[Token] = []
    parser.inline.parse(source, parser, {}, tokens)
    return _Builder().build(tokens)


class _Builder:
    """Joins the texts of inline tokens and remembers where styles begin and end."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._spans: list[Span] = []
        self._open: list[tuple[int, Token]] = []
        self._length = 0

    def build(self, tokens: list[Token]) -> Content:
        for token in tokens:
            self._take(token)
        text = "".join(self._parts)
        for match in _ADDRESS.finditer(text):
            self._spans.append(Span(match.start(), match.end(), "link"))
        return Content(text, spans=self._spans)

    def _take(self, token: Token) -> None:
        if token.type in ("softbreak", "hardbreak"):
            self._add("\n")
        elif token.type == "code_inline":
            self._add(_one_line_text(token.content), "code_span")
        elif token.type == "image":
            self._add(_one_line_text(token.content) or "image", "link")
            self._add_address(token, "src")
        elif token.nesting > 0:
            self._open.append((self._length, token))
        elif token.nesting < 0:
            self._close()
        else:
            self._add(_one_line_text(token.content))

    def _close(self) -> None:
        start, token = self._open.pop()
        name = token.type.removesuffix("_open")
        if self._length > start:
            self._spans.append(Span(start, self._length, _STYLES.get(name, "emphasis")))
        if name == "link" and token.info != "auto":
            self._add_address(token, "href", shown="".join(self._parts)[start:])

    def _add_address(self, token: Token, attribute: str, shown: str = "") -> None:
        address = _one_line_text(str(token.attrs.get(attribute, "")))
        title = _one_line_text(str(token.attrs.get("title", "")))
        words = [address] if address and address != shown else []
        if title:
            words.append(f'"{title}"')
        if words:
            self._add(f" ({' '.join(words)})", "address")

    def _add(self, text: str, style: str = "") -> None:
        if style and text:
            self._spans.append(Span(self._length, self._length + len(text), style))
        self._parts.append(text)
        self._length += len(text)


def _one_line_text(text: str) -> str:
    """Safe once more: an entity such as `&#x202e;` has been decoded since the source was sanitised."""
    return sanitize(text).replace("\n", " ").replace("\t", " ")
