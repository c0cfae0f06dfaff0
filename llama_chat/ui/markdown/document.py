"""A Markdown text that grows at its end: what is over stays as drawn, only the open tail is parsed again."""

from __future__ import annotations

from llama_chat.markup.parser import Node, parse_blocks
from llama_chat.sanitize import complete_length, sanitize
from llama_chat.ui.markdown.blocks import BLANK, BlockRenderer, first_number_of
from llama_chat.ui.markdown.fence import OpenFence
from llama_chat.ui.markdown.line import Line


class Document:
    """The lines of a text, whatever the pieces it arrives in.

    Why blocks may freeze: markdown-it reads line by line, and a line that begins a block closes the one
    above for good. So as soon as the first line of a block (or of an item of the outermost list) is
    complete, everything above it stays as it is.
    """

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.lines: list[Line] = []
        """As they are drawn now; for reading only."""
        self._frozen = 0
        self._code_start = 0
        self._tail = ""
        self._held = ""
        self._fence: OpenFence | None = None
        self._next_number: int | None = None
        self._has_gap_above = True

    @property
    def tail_length(self) -> int:
        """How many characters the next `append` will parse again."""
        return 0 if self._fence else len(self._tail)

    def append(self, text: str) -> int:
        """The index of the first line that has changed, after this text was added."""
        text = self._held + text
        ready = complete_length(text)
        self._held = text[ready:]
        return self._update(sanitize(text[:ready]))

    def finish(self) -> int:
        """The index of the first line that has changed, now that no more is expected.

        A held character is drawn, and an open fence gets the colours of its whole. `append` may go on.
        """
        held, self._held = self._held, ""
        changed = self._update(sanitize(held)) if held else len(self.lines)
        if self._fence is None:
            return changed
        del self.lines[self._frozen :]
        self._draw(parse_blocks(self._fence.source), self._fence.source)
        return self._frozen

    def _update(self, text: str) -> int:
        start = self._code_start if self._fence else self._frozen
        fence, fence_start = self._fence, self._frozen
        before = self.lines[start:]
        del self.lines[start:]
        self._tail += text
        while self._advance():
            pass
        if fence is not None and self._fence is not fence:
            return fence_start
        return start + _common_length(before, self.lines[start:])

    def _advance(self) -> bool:
        """Freeze what is over and draw the rest; whether there is more to do."""
        if self._fence is not None:
            return self._advance_fence(self._fence)
        nodes = parse_blocks(self._tail)
        if not nodes:
            return False
        if (cut := self._find_cut(nodes)) is not None:
            self._freeze(nodes, *cut)
            return True
        if nodes[0].kind == "fence" and self._tail.count("\n") > nodes[0].first_line:
            self._open_fence(nodes[0])
            return True
        self._draw(nodes, self._tail)
        return False

    def _find_cut(self, nodes: list[Node]) -> tuple[int, int] | None:
        """The block, and the item of it, that everything above may freeze before; None where nothing may."""
        complete = self._tail.count("\n")
        for number in range(len(nodes) - 1, -1, -1):
            node = nodes[number]
            # The second line of a table makes it one: cut short, `|--|` may still go on as other text.
            if node.first_line + (node.kind == "table") >= complete:
                continue
            items = node.children if node.kind.endswith("_list") else []
            for item in range(len(items) - 1, 0, -1):
                if items[item].first_line < complete:
                    return number, item
            return (number, 0) if number else None
        return None

    def _freeze(self, nodes: list[Node], number: int, item: int) -> None:
        last = nodes[number]
        over = nodes[:number]
        source = self._tail.split("\n")
        line = last.children[item].first_line if item else last.first_line
        next_number = None
        if item:
            over.append(Node(last.token, last.children[:item]))
            carried = self._next_number if number == 0 else None
            next_number = (first_number_of(last) if carried is None else carried) + item
        self._draw(over, self._tail)
        self._has_gap_above = not item or BlockRenderer(source).has_gap_above(line)
        self._next_number = next_number
        self._frozen = len(self.lines)
        self._tail = "\n".join(source[line:])

    def _draw(self, nodes: list[Node], text: str) -> None:
        """Add the lines of the blocks; the first may be a list that goes on from the frozen lines."""
        renderer = BlockRenderer(text.split("\n"))
        for number, node in enumerate(nodes):
            if self.lines and (number or self._has_gap_above):
                self.lines.append(BLANK)
            first_number = self._next_number if number == 0 else None
            self.lines.extend(renderer.render(node, self.width, first_number=first_number))

    def _open_fence(self, node: Node) -> None:
        *_empty, opening, self._tail = self._tail.split("\n", node.first_line + 1)
        self._fence = OpenFence(opening, node, self.width)
        if self.lines:
            self.lines.append(BLANK)
        self.lines.extend(self._fence.head())
        self._code_start = len(self.lines)

    def _advance_fence(self, fence: OpenFence) -> bool:
        """Draw the new lines of code; True when the fence has ended."""
        lines, rest = fence.take(self._tail)
        self._tail = rest or ""
        if rest is not None:
            self._close_fence(fence)
            return True
        self.lines.extend(lines)
        self._code_start = len(self.lines)
        self.lines.extend(fence.unfinished())
        return False

    def _close_fence(self, fence: OpenFence) -> None:
        self._fence = None
        self._next_number = None
        self._has_gap_above = True
        del self.lines[self._frozen :]
        self._draw(parse_blocks(fence.source), fence.source)
        self._frozen = len(self.lines)


def _common_length(before: list[Line], after: list[Line]) -> int:
    """How many lines at the beginning are the same, styles included."""
    for number, (old, new) in enumerate(zip(before, after, strict=False)):
        if old is not new and not _is_same(old, new):
            return number
    return min(len(before), len(after))


def _is_same(old: Line, new: Line) -> bool:
    return (
        old.fill == new.fill
        and old.joint == new.joint
        and old.action == new.action
        and old.content.is_same(new.content)
        and old.prefix.is_same(new.prefix)
    )
