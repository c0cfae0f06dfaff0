"""The code blocks of a text: those that are drawn, as they were written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from llama_chat.markup.parser import Node, is_too_deep, parse_blocks
from llama_chat.markup.thoughts import CLOSE, OPEN, Kind, ThoughtParser

_MAY_HAVE_CODE = re.compile(r"```|~~~|^[ \t>*+.)\d-]*?(?: {4}|\t)", re.MULTILINE)
"""A text without a fence, and without a line that is indented so far, has no code block."""


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fence, or a block that is indented."""

    code: str
    """With the line break at its end that the fence begins a line with."""
    info: str = ""
    """What stands behind the opening fence."""

    @property
    def language(self) -> str:
        """The first word of the info; empty without one."""
        return re.split(r"[\s{:,]", self.info.strip(), maxsplit=1)[0]

    @property
    def to_copy(self) -> str:
        """Without the last line break: a shell that is given it would run the last line at once."""
        return self.code.removesuffix("\n")

    @property
    def line_count(self) -> int:
        """How many lines of code."""
        return len(self.to_copy.split("\n")) if self.code else 0


def code_blocks(text: str) -> list[CodeBlock]:
    """All fences (an open one too) and indented blocks, in their order, also those in lists and quotes.

    What a model thought is folded away: code in it counts only where there is none in the answer.
    """
    text = text.replace("\r\n", "\n")
    if not _MAY_HAVE_CODE.search(text):
        return []
    if CLOSE not in text and OPEN not in text:
        return blocks_within(text)
    parser = ThoughtParser()
    found: dict[Kind, list[CodeBlock]] = {kind: [] for kind in Kind}
    for kind, pieces in groupby([*parser.feed(text), *parser.finish()], key=lambda piece: piece.kind):
        found[kind] += blocks_within("".join(piece.text for piece in pieces))
    return found[Kind.ANSWER] or found[Kind.THOUGHT]


def blocks_within(text: str) -> list[CodeBlock]:
    """Those of a text that is all answer or all thought."""
    return list(_within(parse_blocks(text.replace("\r\n", "\n"))))


def _within(nodes: Sequence[Node]) -> Iterator[CodeBlock]:
    for node in nodes:
        if is_too_deep(node):
            continue  # drawn as it was written
        if node.kind in ("fence", "code_block"):
            yield CodeBlock(node.token.content, node.token.info.strip())
        yield from _within(node.children)
