"""Blocks of Markdown as lines: headings, paragraphs, lists, quotes, code, tables, rules."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from textual.content import Content

from llama_chat.markup.parser import Node, is_too_deep
from llama_chat.ui.markdown.code import code_block
from llama_chat.ui.markdown.inline import render_inline
from llama_chat.ui.markdown.line import EMPTY, Line, wrap
from llama_chat.ui.markdown.tables import render_table

MIN_WIDTH = 12
"""Where less would be left, nested blocks are not indented any more: no word may leave the column."""
BLANK = Line(EMPTY)
_BULLETS = "•◦▪"


@dataclass(frozen=True, slots=True)
class BlockRenderer:
    """Draws parsed blocks; `source` are the lines that their places refer to."""

    source: list[str]

    def render(self, node: Node, width: int, *, first_number: int | None = None) -> list[Line]:
        """The lines of one block; a list that goes on from above begins with `first_number`."""
        if is_too_deep(node):
            return self._literal(node, width)
        token = node.token
        match node.kind:
            case "paragraph":
                return wrap(_text_of(node), width)
            case "heading":
                return self._heading(node, width)
            case "fence" | "code_block":
                return code_block(token.content, token.info, width)
            case "blockquote":
                return self._quote(node, width)
            case "bullet_list" | "ordered_list":
                return self._list(node, width, first_number)
            case "table":
                return render_table(node, self.source, width)
            case "hr":
                return [Line(Content.styled("─" * width, "rule"))]
        return self._literal(node, width)

    def has_gap_above(self, line: int) -> bool:
        """Whether the source has an empty line above this one."""
        return 0 < line <= len(self.source) and not self.source[line - 1].strip(" \t>")

    def _literal(self, node: Node, width: int) -> list[Line]:
        text = "\n".join(self.source[node.first_line : node.end_line])
        return wrap(Content(text.expandtabs(4)), width)

    def _heading(self, node: Node, width: int) -> list[Line]:
        style = f"heading.{node.token.tag[1:]}"
        return wrap(_text_of(node).stylize_before(style), width)

    def _quote(self, node: Node, width: int) -> list[Line]:
        bar = Content.styled("│ ", "quote.bar")
        inner = width - 2 if width - 2 >= MIN_WIDTH else width
        lines: list[Line] = []
        for number, child in enumerate(node.children):
            lines.extend([BLANK] if number else [])
            lines.extend(self.render(child, inner))
        return [
            line._replace(
                prefix=bar + line.prefix if inner < width else line.prefix,
                content=line.content.stylize_before("quote"),
            )
            for line in lines
        ]

    def _list(self, node: Node, width: int, first_number: int | None) -> list[Line]:
        start = first_number if first_number is not None else first_number_of(node)
        lines: list[Line] = []
        for number, item in enumerate(node.children):
            if number and self.has_gap_above(item.first_line):
                lines.append(BLANK)
            marker = f"{start + number}. " if node.kind == "ordered_list" else f"{_bullet(node)} "
            lines.extend(self._item(item, marker, width))
        return lines

    def _item(self, item: Node, marker: str, width: int) -> list[Line]:
        indent = len(marker)
        inner = width - indent if width - indent >= MIN_WIDTH else width
        lines: list[Line] = []
        for above, child in pairwise([None, *item.children]):
            assert child is not None
            if above is not None and (self.has_gap_above(child.first_line) or child.kind == "fence"):
                lines.append(BLANK)
            lines.extend(self.render(child, inner))
        head = Content.styled(marker, "marker")
        if not lines:
            return [Line(head.rstrip())]
        if inner == width or lines[0].fill:  # no room beside the text, or the item begins with code
            return [Line(head.rstrip()), *lines]
        first = lines[0]._replace(content=head + lines[0].prefix + lines[0].content, prefix=EMPTY)
        return [first, *(_indent(line, Content(" " * indent)) for line in lines[1:])]


def first_number_of(node: Node) -> int:
    """What an ordered list begins to count with."""
    return int(node.token.attrs.get("start", 1))


def _text_of(node: Node) -> Content:
    return render_inline(node.children[0].token.content) if node.children else EMPTY


def _bullet(node: Node) -> str:
    return _BULLETS[min(node.token.level // 2, len(_BULLETS) - 1)]


def _indent(line: Line, space: Content) -> Line:
    """Code and what the width has parted is copied without the indentation; items keep it."""
    if line.fill or line.prefix or line.joint is not None or not line.content:
        return line._replace(prefix=space + line.prefix)
    return line._replace(content=space + line.content)
