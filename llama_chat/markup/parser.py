"""markdown-it, loaded when the first text is drawn, and its block tokens as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_NESTING = 40
"""markdown-it drops what is nested deeper; `is_too_deep` finds such blocks, and they are drawn as text."""


@cache
def load_parser(*, links: bool = True) -> MarkdownIt:
    """A parser of CommonMark with tables and strikethrough (imports markdown-it: 25 ms, 2025-11).

    Raw HTML stays text. Reference definitions are no definitions but text: they would change blocks that
    are drawn already, and their addresses would be hidden.
    """
    from markdown_it import MarkdownIt

    class Parser(MarkdownIt):
        def normalizeLink(self, url: str) -> str:  # noqa: N802  (markdown-it's name for it)
            return url  # shown as it was written, never followed

    parser = Parser("commonmark", {"html": False, "maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"]).disable(["reference"])
    if not links:
        parser.disable(["link", "image"])
    return parser


@dataclass(slots=True)
class Node:
    """A block and the blocks in it."""

    token: Token
    children: list[Node] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The name of the block: `paragraph`, `bullet_list`, `fence`."""
        return self.token.type.removesuffix("_open")

    @property
    def first_line(self) -> int:
        """Where it begins in the source, from 0."""
        return self.token.map[0] if self.token.map else 0

    @property
    def end_line(self) -> int:
        """The line after its last one."""
        return self.token.map[1] if self.token.map else 0


def parse_blocks(source: str) -> list[Node]:
    """The blocks of a text, outermost first; the text inside them is not parsed yet."""
    parser = load_parser()
    tokens: list[Token] = []
    parser.block.parse(source, parser, {}, tokens)
    top: list[Node] = []
    open_nodes = [top]
    for token in tokens:
        if token.nesting < 0:
            open_nodes.pop()
            continue
        node = Node(token)
        open_nodes[-1].append(node)
        if token.nesting > 0:
            open_nodes.append(node.children)
    return top


def is_too_deep(node: Node) -> bool:
    """Whether the parser may have dropped something inside."""
    return node.token.level >= MAX_NESTING - 1 or any(is_too_deep(child) for child in node.children)
