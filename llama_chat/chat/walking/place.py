"""Where one is in a walk."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llama_chat.drawing.views import Step, WalkFacts


@dataclass(frozen=True, slots=True)
class WalkPlace:
    """A step, a layer, a head, a token; all from 0."""

    step: int = 0
    layer: int = 0
    head: int = 0
    position: int = 0
    """The token that is looked from: the text ends with it."""
    target: int = 0
    """The token that heads are looked for by: those that look at it."""

    def moved(self, steps: tuple[Step, ...], by: int) -> WalkPlace:
        """So many steps further, no further than the last."""
        return replace(self, step=_within(self.step + by, len(steps)))

    def in_layer(self, facts: WalkFacts, by: int) -> WalkPlace:
        """So many layers further; round and round."""
        return replace(self, layer=(self.layer + by) % facts.size("L"))

    def in_head(self, facts: WalkFacts, by: int) -> WalkPlace:
        """So many heads further; round and round."""
        return replace(self, head=(self.head + by) % facts.size("H"))

    def looking_from(self, position: int) -> WalkPlace:
        """From that token, at the same one or at one that is not ahead of it."""
        return replace(self, position=position, target=min(self.target, position))

    def looking_at(self, target: int) -> WalkPlace:
        """At that token."""
        return replace(self, target=target)


def _within(value: int, count: int) -> int:
    return min(max(value, 0), count - 1)
