"""The code blocks of a text: those that are drawn, as they were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from llama_chat.chat.code_files import CodeBlock
from llama_chat.chat.thoughts import CLOSE, OPEN, Kind, ThoughtParser
from llama_chat.ui.markdown.parser import Node, parse_blocks

_SIGNS = ("```", "~~~", "    ", "\t")
"""A text without any of them has no code block."""


def code_blocks(text: str) -> list[CodeBlock]:
    """All fences (an open one too) and indented blocks, in their order, also those in lists and quotes.

    What a model thought is folded away: code in it counts only where there is none in the answer.
    """
    if not any(sign in text for sign in _SIGNS):
        return []
    text = text.replace("\r\n", "\n")
    if CLOSE not in text and OPEN not in text:
        return list(_within(parse_blocks(text)))
    parser = ThoughtParser()
    found: dict[Kind, list[CodeBlock]] = {kind: [] for kind in Kind}
    for kind, pieces in groupby([*parser.feed(text), *parser.finish()], key=lambda piece: piece.kind):
        found[kind] += _within(parse_blocks("".join(piece.text for piece in pieces)))
    return found[Kind.ANSWER] or found[Kind.THOUGHT]


def _within(nodes: Sequence[Node]) -> Iterator[CodeBlock]:
    for node in nodes:
        if node.kind in ("fence", "code_block"):
            yield CodeBlock(node.token.content, node.token.info.strip())
        yield from _within(node.children)
