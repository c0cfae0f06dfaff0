"""How long a model thinks before it answers: counted while the reply is written."""

from __future__ import annotations

from dataclasses import dataclass

from llama_chat.markup.thoughts import Kind, ThoughtParser


@dataclass(frozen=True, slots=True)
class ThoughtFigures:
    """How long a thought was, or is so far."""

    tokens: int
    seconds: float


class ThoughtMeter:
    """Counts the tokens and seconds of each thought of a reply while it is written.

    Args:
        before: what the reply said already, when it goes on; thoughts that began in it have no figures.
    """

    def __init__(self, before: str = "") -> None:
        self._parser = ThoughtParser()
        self._figures: list[ThoughtFigures | None] = []
        self._has_text_before = bool(before)
        self._all = ThoughtFigures(0, 0.0)
        self._is_news = False
        self._take(before)
        self._figures = [None] * len(self._figures)

    def feed(self, text: str, seconds: float) -> None:
        """Take one token."""
        self._all = ThoughtFigures(self._all.tokens + 1, self._all.seconds + seconds)
        was_thinking, count = self._parser.is_thinking, len(self._figures)
        self._take(text)
        is_thought = was_thinking or self._parser.is_thinking or len(self._figures) > count
        now = self._figures[-1] if self._figures else None
        self._is_news |= is_thought
        if is_thought and now is not None and now is not self._all:
            self._figures[-1] = ThoughtFigures(now.tokens + 1, now.seconds + seconds)

    def take_figures(self) -> tuple[ThoughtFigures | None, ...]:
        """Those of every thought so far, in the order of the text; nothing where they are as they were."""
        is_news, self._is_news = self._is_news, False
        return tuple(self._figures) if is_news else ()

    def _take(self, text: str) -> None:
        for piece in self._parser.feed(text):
            if piece.kind is Kind.OPENING:
                self._figures.append(ThoughtFigures(0, 0.0))
            elif piece.kind is Kind.CLOSING_ALL:
                self._figures.append(None if self._has_text_before else self._all)
