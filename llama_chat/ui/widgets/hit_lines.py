"""A message that was found: session, who and when, and below it the words around the match."""

from __future__ import annotations

import time
from itertools import accumulate

from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from llama_chat.conversation import Role
from llama_chat.markup.thoughts import CLOSE, OPEN
from llama_chat.sanitize import one_line, sanitize
from llama_chat.sessions import SearchHit
from llama_chat.ui.widgets.two_ends import TwoEnds

_WHO = {Role.USER: "you", Role.ASSISTANT: "model", Role.SYSTEM: "system"}
_MATCH = "bold $text-accent"
_BEFORE_SHARE = 1 / 3
"""Of a narrow line, so much stands before the match."""


def _without_tags(text: str) -> str:
    return text.replace(OPEN, "").replace(CLOSE, "").replace("  ", " ")


class HitLines(Visual):
    """Two lines, laid out anew for every width; the match is in sight in each."""

    def __init__(self, hit: SearchHit) -> None:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(hit.created_at))
        title = one_line(hit.session.title)
        about = Content.styled(f"{_WHO[hit.role]} · {when} ", "$foreground 50%")
        self._head = TwoEnds(Content.assemble(" ", (title, "bold")), about)
        parts = [(_without_tags(sanitize(text)), is_match) for text, is_match in hit.snippet]
        self._words = Content.assemble(*((text, _MATCH if is_match else "") for text, is_match in parts))
        starts = accumulate((len(text) for text, _ in parts), initial=0)
        self._match = next((at for at, (_, is_match) in zip(starts, parts, strict=False) if is_match), 0)

    def content(self, width: int) -> Content:
        """Both lines, in so many cells."""
        return self._head.line(width) + Content("\n") + self._snippet(width)

    def _snippet(self, width: int) -> Content:
        room = max(4, width - 4)
        skipped = 0 if self._match < room // 2 else self._match - int(room * _BEFORE_SHARE)
        words = self._words[skipped:] if skipped else self._words
        line = Content("   ") + (Content("…") if skipped else Content("")) + words
        return line.truncate(width, ellipsis=True)

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """The two lines."""
        return self.content(width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:  # noqa: ARG002  (as Visual has it)
        """All of the words."""
        return self._words.cell_length

    def get_height(self, rules: RulesMap, width: int) -> int:  # noqa: ARG002  (as Visual has it)
        """Two lines."""
        return 2
